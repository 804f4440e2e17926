// A conversation as a tree of messages: what is shown is one path from a root to a leaf.

/**
 * message: {id, parent_id, role, content, version, state, error, model, shown,
 * feedback: {kind: event}}. state is 'done', 'streaming', 'stopped' or 'failed'; shown is when its
 * first words appeared.
 */
export class Conversation {
  constructor(id = null, title = '') {
    this.id = id
    this.title = title
    this.messages = []
    this.chosen = new Map() // parent id -> the child that is shown
  }

  /** From GET /v1/conversations/{id}: feedback is a list of the events that still count. */
  static from({ id, title, messages }) {
    const tree = new Conversation(id, title)
    for (const message of messages) {
      const feedback = Object.fromEntries(
        (message.feedback ?? []).map(event => [event.kind, event]),
      )
      const state = ['abort', 'error'].includes(message.finish_reason) ? 'stopped' : 'done'
      tree.add({ ...message, feedback, state, shown: performance.now() })
    }
    return tree
  }

  add(message) {
    this.messages.push({ feedback: {}, content: '', state: 'done', parent_id: null, ...message })
    const added = this.messages.at(-1)
    this.chosen.set(added.parent_id, added)
    return added
  }

  remove(message) {
    this.messages = this.messages.filter(other => other !== message)
    this.chosen.delete(message.parent_id)
  }

  /** The server has named a message: its children, and the choice of it, follow. */
  rename(message, id) {
    if (message.id === id) return
    for (const child of this.children(message.id)) child.parent_id = id
    if (this.chosen.has(message.id)) this.chosen.set(id, this.chosen.get(message.id))
    message.id = id
  }

  find(id) {
    return this.messages.find(message => message.id === id)
  }

  children(id) {
    return this.messages.filter(message => message.parent_id === id)
  }

  siblings(message) {
    return this.children(message.parent_id)
  }

  /** Where two answers were compared, the conversation went on from the better one. */
  prefer() {
    for (const { feedback } of this.messages) {
      const { outcome, a, b } = feedback.preference?.value ?? {}
      const winner = this.find(outcome === 'b' ? b : a)
      if (winner) this.choose(winner)
    }
  }

  choose(message) {
    this.chosen.set(message.parent_id, message)
  }

  /** The shown messages, oldest first. */
  path() {
    const shown = []
    for (let id = null; ; id = shown.at(-1).id) {
      const children = this.children(id)
      if (!children.length) return shown
      shown.push(this.chosen.get(id) ?? children.at(-1))
    }
  }

  /** The messages from the root to `message`. */
  upTo(message) {
    const found = []
    for (let at = message; at; at = this.find(at.parent_id)) found.unshift(at)
    return found
  }
}

/** What the visitor sees as the answer: their correction, where there is one. */
export function textOf(message) {
  return message.feedback.edit?.value.content ?? message.content
}

/** The OpenAI messages of a path. */
export function asPrompt(messages) {
  return messages.map(message => ({ role: message.role, content: textOf(message) }))
}

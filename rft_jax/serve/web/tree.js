// A conversation as a tree of messages: what is shown is one path from a root to a leaf.

import { uuid7 } from './api.js'

const KNOWN = ['content', 'feedback', 'state', 'version', 'model', 'pair_side', 'dropped', 'stored']

/**
 * message: {id, parent_id, role, content, version, state, error, model, shown, stored, dropped,
 * feedback: {kind: event}}. state is 'done', 'streaming', 'stopped' or 'failed'; shown is when its
 * first words appeared; stored: the server has it; dropped: so many of the oldest messages were not
 * read for it. pair: the comparison that it is shown in; compared: the one that it was in.
 */
export class Conversation {
  constructor(id = null, title = '') {
    this.id = id
    this.title = title
    this.messages = []
    this.chosen = new Map() // parent id -> the child that is shown
  }

  /**
   * From GET /v1/conversations/{id}, where feedback is a list of the events that still count. What
   * `before`, the same conversation as it is shown, has of it stays the same object, and where it
   * is shown; so does what only the page has.
   */
  static from({ id, title, messages }, before = new Conversation()) {
    const tree = new Conversation(id, title)
    for (const message of messages) {
      const feedback = Object.fromEntries(
        (message.feedback ?? []).map(event => [event.kind, event]),
      )
      const state = ['abort', 'error'].includes(message.finish_reason) ? 'stopped' : 'done'
      const found = { ...message, feedback, state, stored: true }
      const known = before.find(message.id)
      for (const name of KNOWN) if (known) known[name] = found[name]
      tree.add(known ?? { ...found, shown: performance.now() })
    }
    for (const message of before.messages) if (!message.stored) tree.add(message)
    for (const [parent, message] of before.chosen) {
      const news = tree.children(parent).some(child => child.stored && !before.has(child))
      if (tree.has(message) && (message.stored || !news)) tree.choose(message)
    }
    return tree
  }

  /** Finds what a question is still without, and which answer a comparison went on from. */
  settle() {
    for (const question of this.messages.filter(({ role }) => role === 'user')) {
      const answers = this.children(question.id).filter(({ role }) => role === 'assistant')
      if (question.stored && !answers.length) this.add(unanswered(question))
      const [a, b] = ['a', 'b'].map(side =>
        answers.findLast(({ pair_side, state }) => pair_side === side && state === 'done'),
      )
      if (a && b) this.compare(a, b)
    }
  }

  /** Two answers that were compared, or still are to be. */
  compare(a, b) {
    const { id = null, value } = a.feedback.preference ?? {}
    const pair = a.pair ?? a.compared ?? { a, b, ready: true }
    const outcome = value?.outcome ?? null
    const news = pair.outcome !== outcome
    Object.assign(pair, { outcome, vote: id })
    if (news) this.prefer(pair)
    a.compared = b.compared = pair
    if (!outcome) a.pair = b.pair = pair
  }

  /** Shows the better of two answers; the other one where only that was gone on from already. */
  prefer({ a, b, outcome }) {
    const [better, other] = outcome === 'b' ? [b, a] : [a, b]
    const left = this.children(other.id).length > 0 && !this.children(better.id).length
    this.choose(left ? other : better)
  }

  add(message) {
    const usual = { feedback: {}, content: '', state: 'done', parent_id: null }
    for (const name in usual) message[name] ??= usual[name]
    this.messages.push(message)
    this.choose(message)
    return message
  }

  has(message) {
    return this.messages.includes(message)
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

  /** The messages from the root to `message` that the server has, and `message`. */
  upTo(message) {
    const found = [message]
    for (let at = message; (at = this.find(at.parent_id));) if (at.stored) found.unshift(at)
    return found
  }

  /**
   * Where a question goes, as the server is told: a stored one gets one more answer, a new one
   * follows the last answer that is stored.
   */
  placeOf(question) {
    const answers = this.upTo(question).filter(({ role }) => role === 'assistant')
    const parent = question.stored ? question.id : answers.at(-1)?.id
    return {
      ...(this.id && { conversation_id: this.id }),
      ...(parent && { parent_message_id: parent }),
    }
  }

  /** Takes a question that came to nothing out; what was asked after it follows what was before. */
  cut(question) {
    for (const answer of this.children(question.id)) {
      for (const next of this.children(answer.id)) this.move(next, question.parent_id)
      this.remove(answer)
    }
    this.remove(question)
  }

  move(message, parentId) {
    message.parent_id = parentId
    this.choose(message)
  }
}

function unanswered({ id }) {
  const error = 'No answer was written.'
  return { id: uuid7(), parent_id: id, role: 'assistant', state: 'failed', error }
}

/** The message of a path that is the first which was read for its last answer; none if all were. */
export function horizonOf(path) {
  const stored = path.filter(message => message.stored)
  return stored[stored.findLast(({ role }) => role === 'assistant')?.dropped || -1]
}

/** What the visitor sees as the answer: their correction, where there is one. */
export function textOf(message) {
  return message.feedback.edit?.value.content ?? message.content
}

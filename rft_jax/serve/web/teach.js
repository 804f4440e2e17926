// The welcome: teach the model one thing and see, before and after, that it has learned it.

import { complete } from './api.js'
import { button, byId, emit, h, icon, isRepeat, on } from './dom.js'
import { markNews, sameWords } from './diff.js'
import { vote } from './feedback.js'
import { liveText, versionText } from './message.js'
import { receiptView, seconds } from './receipts.js'
import { editor } from './votes.js'

const FAILED = new Set(['refused', 'rejected', 'not_learned', 'quarantined', 'rolled_back'])

/** One lesson: the same question under the same parent, asked greedily, before and after. */
class Lesson {
  constructor(suggestion, panel) {
    Object.assign(this, { suggestion, panel, conversation: null, question: null })
    this.before = h('div', { class: 'card', testid: 'before' })
    this.after = h('div', { class: 'card', testid: 'after' })
    this.steps = h('div', { class: 'lesson-steps' })
  }

  async start() {
    const { prompt } = this.suggestion
    this.panel.replaceChildren(
      h('p', { class: 'eyebrow' }, this.suggestion.title),
      h('h2', { dir: 'auto' }, prompt),
      h('div', { class: 'pair' }, this.before, this.after),
      this.steps,
    )
    this.after.replaceChildren(
      h('h3', {}, 'After'),
      h('p', { class: 'muted' }, 'What it says once it has learned from you.'),
    )
    this.steps.replaceChildren(h('p', { class: 'muted' }, 'Asking ...'))
    this.first = await this.ask(this.before, 'Before')
    if (this.first) this.offer()
  }

  /** Asks into a card; null where it failed, with the reason and a way to try again. */
  async ask(card, title) {
    const message = { content: '', state: 'streaming', feedback: {} }
    const live = liveText(message)
    const version = h('span', { class: 'answer-version' })
    card.replaceChildren(h('h3', {}, title, version), live.element)
    const metadata = this.question && {
      conversation_id: this.conversation,
      parent_message_id: this.question,
    }
    const body = {
      model: 'rft',
      temperature: 0,
      messages: [{ role: 'user', content: this.suggestion.prompt }],
    }
    try {
      for await (const piece of complete({ ...body, metadata: metadata ?? {} })) {
        if (piece.rft) this.adopt(message, piece.rft, version)
        if (!piece.text) continue
        message.shown ??= performance.now()
        message.content += piece.text
        live.paint()
      }
    } catch (error) {
      card.replaceChildren(
        h('h3', {}, title),
        h(
          'p',
          { class: 'failure', role: 'alert' },
          icon('warn'),
          error.message,
          button('Try again', 'lesson-retry', () =>
            title === 'Before' ? this.start() : this.show(),
          ),
        ),
      )
      return null
    }
    message.state = 'done'
    message.shown ??= performance.now()
    live.draw()
    return message
  }

  adopt(message, rft, version) {
    message.id = rft.message_id
    message.token = rft.feedback_token
    message.version = rft.version
    version.textContent = versionText(rft.version)
    if (!this.conversation)
      emit('rft:conversation', {
        id: rft.conversation_id,
        title: this.suggestion.prompt,
        elsewhere: true,
      })
    this.conversation = rft.conversation_id
    this.question = rft.user_message_id
    emit('rft:version', rft.version)
  }

  offer() {
    const { hint, examples = [] } = this.suggestion
    const said = this.first.content
    const better = examples.find(example => !sameWords(example, said))
    const teach = content => this.teach(vote(this.first, 'edit', { content }))
    const thumb = label => event =>
      !isRepeat(event) && this.teach(vote(this.first, 'binary', { label }))
    const or = [
      h('span', { class: 'muted' }, 'or only say that it is'),
      button('good', 'lesson-up', thumb(true)),
      button('bad', 'lesson-down', thumb(false)),
    ]
    this.steps.replaceChildren(
      h(
        'p',
        { class: 'lesson-hint', dir: 'auto' },
        hint || 'Change the answer to what you would rather read.',
      ),
      editor(better ?? said, said, teach, null, or),
    )
    this.steps.querySelector('textarea').focus()
  }

  teach(id) {
    this.vote = id
    this.steps.replaceChildren(h('p', { class: 'muted' }, 'Learning from you ...'), receiptView(id))
  }

  /** News of a vote; the lesson goes on when its own has come to an end. */
  heard(receipt) {
    if (receipt.id !== this.vote) return
    if (receipt.status === 'served') this.show(receipt)
    else if (FAILED.has(receipt.status)) {
      this.steps.append(button('Teach it differently', 'lesson-again', () => this.offer()))
    }
  }

  async show(receipt = this.receipt) {
    this.receipt = receipt
    this.second = await this.ask(this.after, 'After')
    if (!this.second) return
    const changed = !sameWords(this.first.content, this.second.content)
    if (changed) markNews(this.before.querySelector('.text'), this.after.querySelector('.text'))
    const took = receipt.latency_ms?.total ? ` in ${seconds(receipt.latency_ms.total)}` : ''
    const text = changed
      ? `It changed because of you: learned${took}.`
      : 'No visible change yet. One vote moves the model a little; teach it again.'
    this.steps.replaceChildren(
      h(
        'p',
        { class: changed ? 'verdict good' : 'verdict', testid: 'verdict', tabindex: -1 },
        changed && icon('check'),
        text,
      ),
      receiptView(this.vote),
      h(
        'div',
        { class: 'actions' },
        h(
          'a',
          { class: 'button primary', testid: 'lesson-continue', href: `#/c/${this.conversation}` },
          'Keep chatting',
        ),
        button('Teach it again', 'lesson-again', () => this.offer()),
        button('Something else', 'lesson-other', () => emit('rft:new')),
      ),
    )
    this.steps.querySelector('.verdict').focus({ preventScroll: true })
  }
}

let lesson = null
on('rft:receipt', receipt => lesson?.heard(receipt))

function suggestionCard(suggestion, panel) {
  const begin = event => {
    if (isRepeat(event)) return
    lesson = new Lesson(suggestion, panel)
    byId('composer').hidden = true
    lesson.start()
  }
  return h(
    'button',
    { type: 'button', class: 'suggestion', testid: 'suggestion', onclick: begin },
    h('strong', { dir: 'auto' }, suggestion.title),
    h('span', { dir: 'auto' }, suggestion.prompt),
  )
}

/** What an empty conversation shows. */
export function hero(suggestions) {
  lesson = null
  byId('composer').hidden = false
  const panel = h('section', { class: 'hero', testid: 'teach', 'aria-label': 'Teach me something' })
  panel.append(
    h('h1', {}, suggestions.length ? 'Teach me something' : 'What is on your mind?'),
    h(
      'p',
      { class: 'lead' },
      'I learn from your votes and corrections while you use me. ',
      'Pick one, correct my answer, and watch it change.',
    ),
    h(
      'div',
      { class: 'suggestions' },
      suggestions.map(suggestion => suggestionCard(suggestion, panel)),
    ),
  )
  return panel
}

// Two answers side by side, which model wrote which is hidden until the visitor has chosen.

import { h, isRepeat } from './dom.js'
import { vote } from './feedback.js'
import { liveText, versionText } from './message.js'
import { receiptView } from './receipts.js'

const MODELS = ['rft', 'rft:base']
const NAMES = { rft: 'With what it has learned', 'rft:base': 'Without what it has learned' }
const OUTCOMES = { a: 'A is better', b: 'B is better', tie: 'A tie', both_bad: 'Both are bad' }

/** Which model is A and which is B: chance decides. */
export function shuffled() {
  return Math.random() < 0.5 ? MODELS : MODELS.toReversed()
}

function reveal(message) {
  const detail = message.model === 'rft' ? versionText(message.version) : ''
  return h(
    'p',
    { class: 'reveal', testid: 'reveal' },
    h('strong', {}, NAMES[message.model]),
    ` ${detail}`,
  )
}

function card(side, message, live, pair) {
  const head = h('h3', { class: 'side' }, side.toUpperCase())
  const state = { 'data-chosen': String(pair.outcome === side) }
  const text =
    message.state === 'failed' ? h('p', { class: 'failure' }, message.error) : live.element
  const name = pair.outcome ? reveal(message) : null
  return h('div', { class: 'card', testid: `side-${side}`, ...state }, head, text, name)
}

function choices(pair, choose) {
  const buttons = Object.entries(OUTCOMES).map(([outcome, label]) => {
    const click = event => !isRepeat(event) && choose(outcome)
    const props = {
      type: 'button',
      class: 'button',
      testid: `choose-${outcome}`,
      disabled: !pair.ready,
      onclick: click,
    }
    return h('button', props, label)
  })
  return h(
    'div',
    { class: 'choices', role: 'group', 'aria-label': 'Which answer is better?' },
    buttons,
  )
}

/**
 * pair: {a, b, outcome, vote, ready}; `chosen()` hears that there is an outcome.
 * Returns the element, `paint()` for while the answers are written, and `refresh()`.
 */
export function pairView(pair, chosen) {
  const lives = { a: liveText(pair.a), b: liveText(pair.b) }
  const element = h('section', {
    class: 'compare',
    testid: 'compare',
    'aria-label': 'Two answers to compare',
  })
  const choose = outcome => {
    const value = { outcome, a: pair.a.id, b: pair.b.id }
    pair.outcome = outcome
    pair.vote = vote(pair.a, 'preference', value)
    draw()
    element.querySelector('.verdict').focus({ preventScroll: true })
    element.lastElementChild.scrollIntoView({ block: 'nearest' })
    chosen()
  }
  const draw = () => {
    const cards = ['a', 'b'].map(side => card(side, pair[side], lives[side], pair))
    const below = pair.outcome
      ? [
          h('p', { class: 'verdict', tabindex: -1 }, `You chose: ${OUTCOMES[pair.outcome]}`),
          receiptView(pair.vote),
        ]
      : [choices(pair, choose)]
    element.replaceChildren(h('div', { class: 'pair' }, cards), ...below)
  }
  draw()
  const paint = () => [lives.a, lives.b].forEach(live => live.paint())
  return { element, paint, refresh: draw }
}

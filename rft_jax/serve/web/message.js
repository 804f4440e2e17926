// One message: its text, its branches and, for an answer, what can be said about it.

import { copyText } from './clipboard.js'
import { announce, button, h, icon, iconButton } from './dom.js'
import { markdown } from './markdown.js'
import { textOf } from './tree.js'
import { editedMark, voteBar } from './votes.js'

/** Writes a text into an element; a text without anything visible says so. */
export function writeText(element, text) {
  if (text.trim()) element.replaceChildren(...markdown(text))
  else element.replaceChildren(h('p', { class: 'muted' }, '(an empty answer)'))
}

/** The text of an answer that is being written; `paint()` may be called as often as text comes. */
export function liveText(message) {
  const element = h('div', { class: 'text', testid: 'answer-text' })
  let frame = 0
  const draw = () => {
    cancelAnimationFrame(frame)
    frame = 0
    if (message.content || message.state !== 'streaming') writeText(element, textOf(message))
    else element.replaceChildren(h('p', { class: 'thinking' }, h('i'), h('i'), h('i')))
  }
  draw()
  return { element, draw, paint: () => (frame ||= requestAnimationFrame(draw)) }
}

const BRANCHES = {
  assistant: ['Answers to the same question', 'Earlier answer', 'Later answer'],
  user: ['What you asked at this point', 'Earlier question', 'Later question'],
}

function branches(message, tree, choose) {
  const all = tree.siblings(message)
  if (all.length < 2) return []
  const at = all.indexOf(message)
  const [name, earlier, later] = BRANCHES[message.role]
  const go = step => () => choose(all[at + step], step < 0 ? 'branch-left' : 'branch-right')
  const count = h('span', { class: 'count', testid: 'branch' }, `${at + 1}/${all.length}`)
  const left = iconButton('left', earlier, 'branch-left', go(-1), { disabled: at === 0 })
  const right = iconButton('right', later, 'branch-right', go(1), {
    disabled: at === all.length - 1,
  })
  return [
    h(
      'span',
      { class: 'branches', role: 'group', 'aria-label': name },
      left,
      count,
      right,
    ),
  ]
}

async function copy(message) {
  announce((await copyText(textOf(message))) ? 'Copied' : 'This browser does not allow copying.')
}

/** What went wrong, and the way on. */
function failure(message, tree, handlers) {
  const unsent = !tree.find(message.parent_id).stored
  const ways = {
    gone: () => button('Start a new conversation', 'restart', () => handlers.restart(message)),
    context_length_exceeded: () => button('Change it', 'reword', () => handlers.reword(message)),
  }
  const again = () => button('Try again', 'retry', () => handlers.retry(message))
  return h(
    'div',
    { class: 'failure', role: 'alert', testid: 'failure' },
    icon('warn'),
    h('span', { dir: 'auto' }, message.error),
    ((unsent && ways[message.refusal]) || again)(),
    branches(message, tree, handlers.choose),
  )
}

export function versionText(version) {
  if (!version) return ''
  return `model v${version.global}` + (version.personal ? `, yours v${version.personal}` : '')
}

function userView(message, tree, handlers) {
  const text = h('div', { class: 'bubble', dir: 'auto' }, message.content)
  const others = branches(message, tree, handlers.choose)
  const props = { class: 'message user', testid: 'user-message', 'aria-label': 'You' }
  return h('article', props, text, others)
}

/** A line between what the model no longer reads and what it does. */
export function horizonView() {
  const text = 'This conversation is long: I no longer read what is above this line.'
  return h('p', { class: 'horizon', role: 'note', testid: 'horizon' }, h('span', {}, text))
}

/** Above an answer that was compared with another: which was better, and a way to see both. */
function comparedMark(message, handlers) {
  const { outcome, a } = message.compared
  const which = (outcome === 'a') === (message === a) ? 'this one' : 'the other one'
  const text = { tie: 'You found two answers equally good', both_bad: 'You found both answers bad' }
  const show = button('Show both', 'show-both', () => handlers.compare(message), { class: 'link' })
  const said = text[outcome] ?? `You liked ${which} better`
  return h('p', { class: 'edited', testid: 'compared' }, icon('columns'), said, show)
}

/**
 * handlers: {again(message), retry(message), reword(message), restart(message), compare(message),
 * choose(message, focus)}.
 */
export function messageView(message, tree, handlers) {
  if (message.role === 'user') return { element: userView(message, tree, handlers), paint() {} }
  const live = liveText(message)
  const top = h('div', {})
  const element = h(
    'article',
    {
      class: 'message answer',
      testid: 'answer',
      'data-message': message.id,
      'data-state': message.state,
      'aria-label': 'Answer',
      'aria-busy': String(message.state === 'streaming'),
    },
    top,
    live.element,
  )
  if (message.state === 'streaming') return { element, paint: live.paint }
  if (message.state === 'failed') {
    if (!message.content) live.element.remove()
    element.append(failure(message, tree, handlers))
    return { element, paint() {} }
  }
  const changed = () => {
    writeText(live.element, textOf(message))
    top.replaceChildren(
      ...('edit' in message.feedback
        ? [editedMark(message, text => writeText(live.element, text))]
        : []),
      ...(message.compared?.outcome ? [comparedMark(message, handlers)] : []),
    )
  }
  const more = [
    iconButton('again', 'Answer again', 'regenerate', () => handlers.again(message)),
    iconButton('copy', 'Copy', 'copy', () => copy(message)),
    ...branches(message, tree, handlers.choose),
    h('span', { class: 'answer-version', testid: 'answer-version' }, versionText(message.version)),
  ]
  if (message.state === 'stopped') {
    // Half an answer teaches nothing: there is nothing to judge.
    element.append(h('p', { class: 'muted small' }, 'Stopped'), h('div', { class: 'vote-row' }, more))
    return { element, paint() {} }
  }
  const bar = voteBar(message, changed, more)
  changed()
  element.append(bar)
  const refresh = () => {
    changed()
    bar.repaint()
  }
  return { element, paint() {}, refresh }
}

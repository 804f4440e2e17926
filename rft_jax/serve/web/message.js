// One message: its text, its branches and, for an answer, what can be said about it.

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

function branches(message, tree, choose) {
  const all = tree.siblings(message)
  if (all.length < 2) return []
  const at = all.indexOf(message)
  const go = step => () => choose(all[at + step], step < 0 ? 'branch-left' : 'branch-right')
  const count = h('span', { class: 'count', testid: 'branch' }, `${at + 1}/${all.length}`)
  const left = iconButton('left', 'Earlier answer', 'branch-left', go(-1), { disabled: at === 0 })
  const right = iconButton('right', 'Later answer', 'branch-right', go(1), {
    disabled: at === all.length - 1,
  })
  return [
    h(
      'span',
      { class: 'branches', role: 'group', 'aria-label': 'Answers to the same question' },
      left,
      count,
      right,
    ),
  ]
}

async function copy(message) {
  await navigator.clipboard.writeText(textOf(message))
  announce('Copied')
}

function failure(message, retry) {
  return h(
    'div',
    { class: 'failure', role: 'alert', testid: 'failure' },
    icon('warn'),
    h('span', { dir: 'auto' }, message.error),
    button('Try again', 'retry', retry),
  )
}

export function versionText(version) {
  if (!version) return ''
  return `model v${version.global}` + (version.personal ? `, yours v${version.personal}` : '')
}

function userView(message) {
  const text = h('div', { class: 'bubble', dir: 'auto' }, message.content)
  return h('article', { class: 'message user', testid: 'user-message', 'aria-label': 'You' }, text)
}

/** handlers: {again(message), retry(message), choose(message, focus)}. */
export function messageView(message, tree, handlers) {
  if (message.role === 'user') return { element: userView(message), paint() {} }
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
    element.append(failure(message, () => handlers.retry(message)))
    return { element, paint() {} }
  }
  const changed = () => {
    writeText(live.element, textOf(message))
    top.replaceChildren(
      ...('edit' in message.feedback
        ? [editedMark(message, text => writeText(live.element, text))]
        : []),
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

// What a visitor can say about one answer: thumbs, stars, a correction, a critique.

import { button, h, icon, iconButton, isRepeat } from './dom.js'
import { CHIPS, retract, vote } from './feedback.js'
import { receiptView } from './receipts.js'
import { textOf } from './tree.js'

/** Gives, changes or takes back: a click on what is already given takes it back. */
function toggle(message, kind, value, same) {
  const now = message.feedback[kind]
  return now && same(now.value) ? takeBack(message, now) : vote(message, kind, value)
}

function takeBack(message, { id, kind }) {
  delete message.feedback[kind]
  retract(id)
  return id
}

function thumb(message, label, act) {
  const pressed = message.feedback.binary?.value.label === label
  const props = { 'aria-pressed': String(pressed) }
  const [name, text, testid] = label
    ? ['up', 'Good answer', 'thumb-up']
    : ['down', 'Bad answer', 'thumb-down']
  const click = () => toggle(message, 'binary', { label }, value => value.label === label)
  return iconButton(name, text, testid, act(click), props)
}

function stars(message, act) {
  const score = message.feedback.rating?.value.score ?? 0
  const buttons = [1, 2, 3, 4, 5].map(n => {
    const click = () => toggle(message, 'rating', { score: n }, value => value.score === n)
    const props = { 'aria-pressed': String(n === score), class: n <= score ? 'star full' : 'star' }
    return iconButton('star', n === 1 ? '1 star' : `${n} stars`, `star-${n}`, act(click), props)
  })
  return h('div', { class: 'stars', role: 'group', 'aria-label': 'Rating' }, buttons)
}

const INVISIBLE = /^[\s\p{Z}\p{Cc}\p{Cf}\u115f\u1160\u2800\u3164\uffa0]*$/u

/** Why a correction would teach nothing; '' where it would. */
function refusal(text, original) {
  if (INVISIBLE.test(text)) return 'Please write the answer that you would rather read.'
  return text.trimEnd() === original.trimEnd() ? 'Nothing is changed yet.' : ''
}

/**
 * An editor for a correction of `original`: `start` is the text to begin with, `save` gets the
 * corrected text. Ctrl+Enter saves, Escape cancels. `more` are further actions.
 */
export function editor(start, original, save, cancel, more = []) {
  const area = h('textarea', {
    class: 'field',
    testid: 'edit-text',
    'aria-label': 'Your correction',
    dir: 'auto',
    rows: Math.min(14, Math.max(3, start.split('\n').length + start.length / 80)),
    value: start,
  })
  const note = h('p', { class: 'muted small', role: 'status', testid: 'edit-note' })
  const done = event => {
    if (isRepeat(event)) return
    note.textContent = refusal(area.value, original)
    if (note.textContent) area.focus()
    else save(area.value.trimEnd())
  }
  area.addEventListener('keydown', event => {
    if (event.key === 'Escape') cancel?.()
    else if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) done(event)
  })
  const actions = [button('Teach this', 'edit-save', done, { class: 'button primary' }), ...more]
  if (cancel) actions.push(button('Cancel', 'edit-cancel', cancel))
  return h('div', { class: 'editor' }, area, note, h('div', { class: 'actions' }, actions))
}

/** Chips and free text; `save` gets (text, tags). */
function critique(message, save, cancel) {
  const old = message.feedback.critique
  const chips = Object.entries(CHIPS).map(([tag, label]) => {
    const flip = event => {
      const pressed = event.currentTarget.getAttribute('aria-pressed') === 'true'
      event.currentTarget.setAttribute('aria-pressed', String(!pressed))
    }
    const pressed = String(old?.tags?.includes(tag) ?? false)
    return button(label, `chip-${tag}`, flip, {
      class: 'chip',
      'aria-pressed': pressed,
      'data-tag': tag,
    })
  })
  const written = { 'aria-label': 'What is wrong', placeholder: 'In your own words (optional)' }
  const input = h('input', {
    ...written,
    class: 'field',
    testid: 'critique-text',
    dir: 'auto',
    value: old?.comment ?? '',
  })
  const submit = event => {
    event.preventDefault()
    const tags = chips
      .filter(chip => chip.getAttribute('aria-pressed') === 'true')
      .map(chip => chip.dataset.tag)
    if (tags.length || input.value.trim()) save(input.value.trim(), tags)
  }
  const send = h('button', { class: 'button primary', testid: 'critique-send' }, 'Send')
  const group = h('div', { class: 'chips', role: 'group', 'aria-label': 'What is wrong' }, chips)
  const actions = h('div', { class: 'actions' }, send, button('Cancel', 'critique-cancel', cancel))
  const form = h('form', { class: 'critique', onsubmit: submit }, group, input, actions)
  form.addEventListener('keydown', event => event.key === 'Escape' && cancel())
  return form
}

function criticise(message, text, tags) {
  const said = text || tags.map(tag => CHIPS[tag]).join(', ')
  return vote(message, 'critique', { text: said }, { tags, ...(text && { comment: text }) })
}

/**
 * The row of controls under an answer, with its receipts. `changed` is called when the text that is
 * shown changes; `more` are further buttons of the row. `bar.repaint()` shows the votes anew.
 */
export function voteBar(message, changed, more = []) {
  const bar = h('div', { class: 'votes', testid: 'votes' })
  const row = h('div', {
    class: 'vote-row',
    role: 'toolbar',
    'aria-label': 'Teach the model with this answer',
  })
  const panel = h('div', { class: 'vote-panel' })
  const notes = h('div', { class: 'receipts' })
  const shown = new Set()
  bar.append(row, panel, notes)

  const act = click => event => {
    if (!isRepeat(event)) show(click())
  }
  const show = id => {
    shown.add(id)
    bar.repaint()
    notes.scrollIntoView({ block: 'nearest' })
  }
  const close = focus => {
    panel.replaceChildren()
    row.querySelector(`[data-testid="${focus}"]`).focus()
  }
  const openEditor = () => {
    const save = content => {
      close('edit')
      const before = message.feedback.edit
      if (before && content === message.content) show(takeBack(message, before))
      else show(vote(message, 'edit', { content }))
      changed()
    }
    panel.replaceChildren(editor(textOf(message), textOf(message), save, () => close('edit')))
    panel.querySelector('textarea').focus()
    panel.scrollIntoView({ block: 'nearest' })
  }
  const openCritique = () => {
    const save = (text, tags) => {
      close('critique')
      show(criticise(message, text, tags))
    }
    panel.replaceChildren(critique(message, save, () => close('critique')))
    panel.querySelector('button').focus()
    panel.scrollIntoView({ block: 'nearest' })
  }
  bar.repaint = () => {
    for (const { id } of Object.values(message.feedback)) shown.add(id)
    const focused = row.contains(document.activeElement) && document.activeElement.dataset.testid
    const pressed = kind => ({ 'aria-pressed': String(kind in message.feedback) })
    row.replaceChildren(
      thumb(message, true, act),
      thumb(message, false, act),
      stars(message, act),
      iconButton('edit', 'Correct this answer', 'edit', openEditor, pressed('edit')),
      iconButton('flag', 'Say what is wrong', 'critique', openCritique, pressed('critique')),
      ...more,
    )
    if (focused) row.querySelector(`[data-testid="${focused}"]`)?.focus()
    notes.replaceChildren(...[...shown].slice(-3).map(receiptView))
  }
  bar.repaint()
  return bar
}

/** A mark above a corrected answer, which can show the answer as it was. */
export function editedMark(message, paint) {
  const flip = event => {
    const original = event.currentTarget.getAttribute('aria-pressed') !== 'true'
    event.currentTarget.setAttribute('aria-pressed', String(original))
    paint(original ? message.content : textOf(message))
  }
  const toggle = button('Show the original', 'show-original', flip, {
    class: 'link',
    'aria-pressed': 'false',
  })
  return h('p', { class: 'edited', testid: 'edited' }, icon('edit'), 'Corrected by you', toggle)
}

// "What you taught me": every vote with its receipt and an undo; whether votes may teach everyone;
// what the visitor's own model has become, with reset and download.

import { call, request } from './api.js'
import { ask } from './dialog.js'
import { announce, button, byId, emit, h, iconButton, on } from './dom.js'
import { CHIPS, retract } from './feedback.js'
import { markdown } from './markdown.js'
import { follow, receiptOf, receiptView } from './receipts.js'
import { tellTabs } from './tabs.js'

const WHEN = { dateStyle: 'medium', timeStyle: 'short' }
const GONE = new Set(['retracted', 'superseded', 'refused', 'rejected', 'not_learned'])

function said({ kind, value, tags }) {
  const say = {
    binary: () => (value.label ? 'Good answer' : 'Bad answer'),
    rating: () => `${value.score} of 5 stars`,
    preference: () =>
      ({ a: 'Preferred A', b: 'Preferred B', tie: 'A tie', both_bad: 'Both bad' })[value.outcome],
    edit: () => 'Corrected',
    critique: () => ['Criticised', ...(tags ?? []).map(tag => CHIPS[tag] ?? tag)].join(' · '),
    reward: () => `Reward ${value.reward}`,
  }
  return say[kind]()
}

const COUNTS = new Set(['queued', 'training', 'applied', 'served'])
const EVERYONE = {
  held: 'Teaches everyone, too, once others agree',
  accepted: 'Agreed by others: it will teach everyone, too',
  learned: 'Has taught everyone, too',
}

/** What a vote that counts does for everyone; '' where the server does not say. */
function forEveryone({ status, everyone }) {
  if (everyone === undefined || !COUNTS.has(status)) return ''
  return EVERYONE[everyone] ?? 'Teaches only your own answers'
}

function lesson(event) {
  const undo = () => {
    retract(event.id)
    undoButton.disabled = true
    announce('Undone')
  }
  const undoButton = iconButton('undo', 'Undo', 'undo', undo, {
    disabled: GONE.has(receiptOf(event.id).status),
  })
  const words = { edit: event.value.content, critique: event.comment }
  const quote = event.kind in words ? words[event.kind] : event.answer
  return h(
    'li',
    { class: 'lesson', testid: 'lesson', 'data-event': event.id },
    h('div', { class: 'lesson-head' }, h('strong', {}, said(event)), undoButton),
    event.prompt && h('p', { class: 'muted clip', dir: 'auto' }, event.prompt),
    quote && h('div', { class: 'clip text' }, markdown(quote)),
    receiptView(event.id),
    h('p', { class: 'muted small', testid: 'for-everyone' }, forEveryone(event)),
  )
}

/** How far the visitor's own model has gone from where it began, in words. */
function distance({ version, kl_to_ref: kl }) {
  if (!version || !kl) return 'not yet'
  return kl < 0.02 ? 'a little' : kl < 0.1 ? 'noticeably' : 'a lot'
}

function facts(adapter) {
  const rows = [
    ['version', 'Your version', adapter.version],
    ['events', 'Votes learned', adapter.n_events],
    ['kl', 'Changed for you', distance(adapter)],
  ]
  if (adapter.updated_us) {
    const when = new Date(adapter.updated_us / 1000).toLocaleString([], WHEN)
    rows.push(['updated', 'Last change', when])
  }
  return rows.flatMap(([id, name, value]) => [
    h('dt', {}, name),
    h('dd', { testid: `fact-${id}` }, String(value)),
  ])
}

async function reset() {
  const title = 'Forget everything you taught me?'
  const text = 'Your conversations stay. This cannot be undone.'
  if ((await ask({ title, text, action: 'Forget it', danger: true })) === null) return
  await call('POST', '/v1/me/adapter/reset', {})
  emit('rft:versions')
  tellTabs()
  await refresh()
}

async function exportAdapter() {
  const blob = await (await request('GET', '/v1/me/adapter/export')).blob()
  const link = h('a', { href: URL.createObjectURL(blob), download: 'adapter.safetensors' })
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000)
}

/** What is shown is what the server has: a switch that it does not hear goes back. */
async function share({ target }) {
  const wanted = target.checked
  target.checked = !wanted
  target.disabled = true
  try {
    const { share } = await call('PUT', '/v1/me/sharing', { share: wanted })
    target.checked = share
    announce(share ? 'Your votes may teach everyone' : 'Your votes teach only your own answers')
    tellTabs()
  } finally {
    target.disabled = false
    target.focus()
  }
}

export async function refresh() {
  const [{ data }, adapter, me] = await Promise.all([
    call('GET', '/v1/feedback?mine=1'),
    call('GET', '/v1/me/adapter'),
    call('GET', '/v1/me'),
  ])
  data.forEach(event => follow(event))
  byId('sharing').checked = me.share
  byId('facts').replaceChildren(...facts(adapter))
  const empty = h(
    'li',
    { class: 'muted' },
    'Nothing yet. Vote on an answer or correct it, and it appears here.',
  )
  byId('lessons').replaceChildren(...(data.length ? data.map(lesson) : [empty]))
}

function toggle(open) {
  byId('drawer').hidden = !open
  byId('drawer-open').setAttribute('aria-expanded', String(open))
  byId(open ? 'drawer-close' : 'drawer-open').focus()
  if (open) refresh()
}

export function startDrawer() {
  byId('drawer-open').addEventListener('click', () => toggle(byId('drawer').hidden))
  byId('drawer-close').addEventListener('click', () => toggle(false))
  byId('drawer').addEventListener('keydown', event => event.key === 'Escape' && toggle(false))
  byId('drawer-actions').append(
    button('Download', 'adapter-export', exportAdapter),
    button('Forget it all', 'adapter-reset', reset, { class: 'button danger' }),
  )
  byId('sharing').addEventListener('change', share)
  on('rft:receipt', ({ status }) => status === 'served' && !byId('drawer').hidden && refresh())
  on('rft:elsewhere', () => byId('drawer').hidden || refresh())
}

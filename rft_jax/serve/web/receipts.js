// What became of a vote: saved, learning, learned; or why not.

import { call } from './api.js'
import { announce, emit, h, icon, on } from './dom.js'
import { flush, isWaiting } from './outbox.js'

const KEPT = 'Kept on this device, sent when you are online again'
const ENDS = {
  served: 'Learned',
  refused: 'Not saved',
  quarantined: 'Kept aside for review',
  not_learned: 'Not learned',
  rejected: 'Not learned',
  rolled_back: 'Rolled back',
  retracted: 'Undone',
  superseded: 'Replaced by a later vote',
}
const QUIET = new Set(['retracted', 'superseded'])
// Reasons by their code word; others are shown as the server says them.
const PLAIN = {
  unread: 'the answer was on the screen too briefly to be read',
  unchanged: 'the correction equals the answer',
  swollen: 'the correction is very much longer than the answer',
  incomplete: 'the answer was not complete',
  KL: 'it would have changed too many other answers; try a smaller change',
}
const STAGES = { ack: 'saved', queue: 'waited', step: 'learned', publish: 'put to use' }
const RANKS = { local: 0, queued: 1, training: 2, applied: 3 }
const NEWS = 30_000 // ms between looks at what news are pushed of, in case that one went astray

const receipts = new Map()
const followed = new Set()
const early = new Map() // news of votes that the server has, which this page does not know yet
let live = false // whether news come by themselves

export function seconds(ms) {
  return `${(ms / 1000).toFixed(1)} s`
}

export function receiptOf(id) {
  return receipts.get(id)
}

/** Takes news of a receipt (any of its fields) to all its views. */
export function track(news) {
  const before = receipts.get(news.id)
  if (before?.status === 'retracted') return // News from before the server heard of it.
  const receipt = { ...before, ...news }
  receipts.set(news.id, receipt)
  for (const view of document.querySelectorAll(`[data-receipt="${news.id}"]`)) paint(view)
  if (before && before.status !== receipt.status) {
    if (receipt.status in ENDS) announce(line(receipt))
    emit('rft:receipt', receipt)
  }
}

/** A reason in words for visitors, without its code word. */
function plain(reason) {
  const [code] = reason.split(/\W/, 1)
  return PLAIN[code] ?? reason.replace(/^\w+: /, '')
}

function line({ status, reasons, applied_version: version, latency_ms: latency }) {
  const details = []
  if (status === 'served' && version !== null) details.push(`yours v${version}`)
  if (status === 'served' && latency?.total) details.push(seconds(latency.total))
  const why = (reasons ?? []).map(plain)
  const reason = status === 'served' || QUIET.has(status) ? '' : why.join('; ')
  return [ENDS[status], ...details].join(', ') + (reason && `: ${reason}`)
}

function steps(receipt) {
  const { status } = receipt
  const at = { queued: 1, training: 2, applied: 2, served: 3 }[status]
  const labels = ['Saved', 'Learning', at === 3 ? line(receipt) : 'Learned']
  return labels.map((label, i) => {
    const state = i < at - 1 || at === 3 ? 'past' : i === at - 1 ? 'now' : 'ahead'
    return h('span', { class: `step ${state}` }, label)
  })
}

function title({ latency_ms: latency }) {
  const parts = Object.entries(latency ?? {}).filter(([name, ms]) => name !== 'total' && ms)
  return parts.map(([name, ms]) => `${STAGES[name] ?? name} ${seconds(ms)}`).join(' · ')
}

function paint(view) {
  const receipt = receipts.get(view.dataset.receipt)
  view.dataset.status = receipt.status
  view.title = title(receipt)
  if (receipt.status === 'local') {
    const text = receipt.delayed ? KEPT : 'Saving'
    view.replaceChildren(icon('clock'), h('span', { class: 'step now' }, text))
  } else if (receipt.status in ENDS && receipt.status !== 'served') {
    const mark = QUIET.has(receipt.status) ? 'undo' : 'warn'
    view.replaceChildren(icon(mark), h('span', { dir: 'auto' }, line(receipt)))
  } else
    view.replaceChildren(icon(receipt.status === 'served' ? 'check' : 'clock'), ...steps(receipt))
}

export function receiptView(id) {
  const view = h('div', { class: 'receipt', testid: 'receipt', 'data-receipt': id })
  paint(view)
  return view
}

/** Ids of what the server may have news of, oldest first. */
export function unfinished() {
  return [...followed].filter(id => !(receipts.get(id).status in ENDS))
}

/** What was answered may be older than what was pushed meanwhile. */
function isOld({ id, status }) {
  const rank = status => RANKS[status] ?? 4
  const known = receipts.get(id)
  return known && rank(known.status) > rank(status)
}

async function ask(id) {
  try {
    track(await call('GET', `/v1/feedback/${id}`))
  } catch (error) {
    if (!error.passing) track({ id, status: 'refused', reasons: [error.message] })
  }
}

/** Brings news of a vote that the server has, until there can be none. */
export async function follow(receipt) {
  for (const news of [receipt, early.get(receipt.id)]) if (news && !isOld(news)) track(news)
  early.delete(receipt.id)
  if (followed.has(receipt.id)) return
  followed.add(receipt.id)
  let asked = Date.now()
  for (let pause = 500; ; pause = Math.min(10_000, pause * 2)) {
    await new Promise(resolve => setTimeout(resolve, pause))
    if (receipts.get(receipt.id).status in ENDS) return
    if (live && Date.now() - asked < NEWS) continue
    asked = Date.now()
    await ask(receipt.id)
  }
}

on('rft:live', up => {
  live = up
})

// The server has what this browser has not been told that it has: it is sent, and answered, now.
on('rft:news', receipt => {
  if (!isWaiting(receipt.id)) return track(receipt)
  early.set(receipt.id, receipt)
  flush()
})

on('rft:told', track)

on('rft:delivered', ({ item, answer }) => {
  if (item.method === 'POST' && receipts.get(item.id)?.status !== 'retracted') follow(answer)
})

on('rft:delayed', ({ items }) => {
  for (const { id } of items) if (receipts.has(id)) track({ id, delayed: true })
})

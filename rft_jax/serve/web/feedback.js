// Votes: at most one of a kind counts for an answer; a later one supersedes it, and any can be
// undone.

import { emit, on } from './dom.js'
import { nextId, put } from './outbox.js'
import { receiptOf, track } from './receipts.js'
import { tellTabs } from './tabs.js'

export const CHIPS = {
  too_long: 'Too long',
  wrong_fact: 'Wrong fact',
  wrong_format: 'Wrong format',
  tone: 'Tone',
}

const given = new Map() // event id -> {message, kind, before}: what to restore if it is refused

/** From now on the page shows this vote; returns the one that it takes the place of. */
function count(message, event) {
  const before = message.feedback[event.kind]
  message.feedback[event.kind] = event
  given.set(event.id, { message, kind: event.kind, before })
  return before
}

/** Counts at once on the page; the outbox brings it to the server. Returns the event's id. */
export function vote(message, kind, value, more = {}) {
  const event = { id: nextId(), kind, value, ...more }
  const before = count(message, event)
  track({ id: event.id, kind, status: 'local' })
  put({
    id: event.id,
    method: 'POST',
    path: '/v1/feedback',
    body: body(message, event, before),
  })
  return event.id
}

/** Takes a vote out of the message that it was given for; returns that message, if it is here. */
export function forget(messages, eventId) {
  for (const message of messages) {
    const kind = Object.keys(message.feedback).find(name => message.feedback[name].id === eventId)
    if (!kind) continue
    delete message.feedback[kind]
    return message
  }
}

/**
 * Brings messages up to date with what the server did not know when it told them: `items` are what
 * waited in the outbox before it was asked.
 */
export function recall(messages, items) {
  for (const { id, method, path, body: event } of items) {
    if (method === 'DELETE') {
      forget(messages, path.split('/').at(-1))
      continue
    }
    const message = messages.find(other => other.id === event.target.message_id)
    if (!message || message.feedback[event.kind]?.id === id) continue
    const known = receiptOf(id)
    if (known?.status === 'refused') continue // Delivered meanwhile.
    if (!known) track({ id, kind: event.kind, status: 'local' })
    count(message, event)
  }
}

function body(message, event, before) {
  return {
    ...event,
    target: { message_id: message.id },
    shown_ms: Math.round(performance.now() - message.shown),
    ...(before && { supersedes: before.id }),
    ...(message.token && { feedback_token: message.token }),
  }
}

/** The server tells nobody of this. */
function ended(receipt) {
  track(receipt)
  tellTabs(receipt)
}

/** Takes a vote back, wherever it was given. */
export function retract(eventId) {
  put({ id: nextId(), method: 'DELETE', path: `/v1/feedback/${eventId}` })
  ended({ id: eventId, status: 'retracted' })
  emit('rft:retracted', eventId)
}

on('rft:refused', ({ item, reason }) => {
  if (item.method !== 'POST') return
  ended({ id: item.id, status: 'refused', reasons: [reason] })
  const vote = given.get(item.id)
  if (vote?.message.feedback[vote.kind]?.id !== item.id) return
  if (vote.before) vote.message.feedback[vote.kind] = vote.before
  else delete vote.message.feedback[vote.kind]
  emit('rft:changed', vote.message)
})

// Votes: at most one of a kind counts for an answer; a later one supersedes it, and any can be
// undone.

import { uuid7 } from './api.js'
import { emit, on } from './dom.js'
import { put } from './outbox.js'
import { track } from './receipts.js'

export const CHIPS = {
  too_long: 'Too long',
  wrong_fact: 'Wrong fact',
  wrong_format: 'Wrong format',
  tone: 'Tone',
}

const given = new Map() // event id -> {message, kind, before}: what to restore if it is refused

/** Counts at once on the page; the outbox brings it to the server. Returns the event's id. */
export function vote(message, kind, value, more = {}) {
  const id = uuid7()
  const before = message.feedback[kind]
  message.feedback[kind] = { id, kind, value, ...more }
  given.set(id, { message, kind, before })
  track({ id, kind, status: 'local' })
  put({
    id,
    method: 'POST',
    path: '/v1/feedback',
    body: body(message, message.feedback[kind], before),
  })
  return id
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

/** Takes a vote back, wherever it was given. */
export function retract(eventId) {
  put({ id: uuid7(), method: 'DELETE', path: `/v1/feedback/${eventId}` })
  track({ id: eventId, status: 'retracted' })
  emit('rft:retracted', eventId)
}

on('rft:refused', ({ item, reason }) => {
  if (item.method !== 'POST') return
  track({ id: item.id, status: 'refused', reasons: [reason] })
  const vote = given.get(item.id)
  if (vote?.message.feedback[vote.kind]?.id !== item.id) return
  if (vote.before) vote.message.feedback[vote.kind] = vote.before
  else delete vote.message.feedback[vote.kind]
  emit('rft:changed', vote.message)
})

// Votes on their way: kept in localStorage under their id, so that a reload or a lost connection
// loses none, and sent in order, always with the same id, until the server has each of them once.

import { call, sortAfter, uuid7 } from './api.js'
import { emit } from './dom.js'
import { tellTabs } from './tabs.js'

let prefix = ''
let timer = 0
let failures = 0
let sending = Promise.resolve()

/** What waits, oldest first: ids sort by the time they were made. */
export function waiting() {
  const keys = Object.keys(localStorage).filter(key => prefix && key.startsWith(prefix))
  return keys.sort().map(key => JSON.parse(localStorage.getItem(key)))
}

/** Whether a vote waits here still, as far as this browser knows. */
export function isWaiting(id) {
  return localStorage.getItem(prefix + id) !== null
}

/** Votes belong to the visitor who gave them: another user of this browser never sends them. */
export function openOutbox(userId) {
  prefix = `rft.outbox.${userId}.`
  flush()
}

/** An id that sorts after what waits, though the clock may have been put back since. */
export function nextId() {
  const newest = waiting().at(-1)
  if (newest) sortAfter(newest.id)
  return uuid7()
}

/** item: {id, method, path, body}. */
export function put(item) {
  localStorage.setItem(prefix + item.id, JSON.stringify(item))
  emit('rft:waiting', item)
  tellTabs()
  flush()
}

/** Without the token, which only speaks for who is not known otherwise. */
function untoken(item) {
  const { feedback_token, ...body } = item.body
  return { ...item, body }
}

async function deliver(item) {
  try {
    const answer = await call(item.method, item.path, item.body)
    localStorage.removeItem(prefix + item.id)
    emit('rft:delivered', { item, answer })
    tellTabs()
  } catch (error) {
    if (error.passing) throw error
    if (error.code === 'expired_token') return deliver(untoken(item)) // It has waited for days.
    localStorage.removeItem(prefix + item.id)
    emit('rft:refused', { item, reason: error.message })
  }
}

async function deliverAll() {
  for (let items = waiting(); items.length; items = waiting()) {
    try {
      await deliver(items[0])
      failures = 0
    } catch (error) {
      emit('rft:delayed', { items, reason: error.message })
      const seconds = error.wait || Math.min(30, 2 ** failures++)
      timer = setTimeout(flush, seconds * 1000)
      return
    }
  }
}

/** Sends what waits; one tab at a time, where the browser has locks (not over plain http). */
export function flush() {
  clearTimeout(timer)
  if (!navigator.locks) return (sending = sending.then(deliverAll))
  return navigator.locks.request(prefix, deliverAll)
}

addEventListener('online', flush)

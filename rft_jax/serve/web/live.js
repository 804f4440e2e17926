// News of the server as it happens: its state, and how far this visitor's votes have come. One
// stream, only while the page is seen: a browser opens six connections to a server, for all tabs.

import { request, serverEvents } from './api.js'
import { emit } from './dom.js'
import { unfinished } from './receipts.js'

const QUIET = 45_000 // ms without a word, after which the line is taken for dead
const SOON = 1000 // ms until a line that broke off is opened again,
const LONGEST = 30_000 // and until one is that never held
let line = null // ends the stream that is open
let listening = false
let rested = () => {} // ends the pause between two streams

function heard(text) {
  emit('rft:live', true)
  const { status, receipts } = JSON.parse(text)
  if (status) emit('rft:status', status)
  receipts?.forEach(receipt => emit('rft:news', receipt))
}

/** One stream, until it ends; whether anything came. */
async function listen() {
  let came = false
  let watch = 0
  const alive = () => {
    clearTimeout(watch)
    watch = setTimeout(() => line.abort(), QUIET)
  }
  line = new AbortController()
  try {
    alive()
    const path = `/v1/live?follow=${unfinished().slice(-100)}`
    const response = await request('GET', path, undefined, line.signal)
    for await (const data of serverEvents(response)) {
      alive()
      came = true
      heard(data)
    }
  } catch {
    // Cut, refused or left. Until there is a line again, whoever needs to know asks.
  }
  clearTimeout(watch)
  emit('rft:live', false)
  return came
}

function rest(ms) {
  return new Promise(resolve => {
    rested = resolve
    setTimeout(resolve, ms)
  })
}

async function keepListening() {
  if (listening) return rested()
  listening = true
  for (let pause = SOON; !document.hidden; ) {
    pause = (await listen()) ? SOON : Math.min(LONGEST, 2 * pause)
    await rest(pause * (0.5 + Math.random())) // Not all pages at once, after a restart.
  }
  listening = false
}

export function startLive() {
  const hang = () => line?.abort()
  addEventListener('visibilitychange', () => (document.hidden ? hang() : keepListening()))
  addEventListener('offline', hang)
  addEventListener('online', () => rested())
  keepListening()
}

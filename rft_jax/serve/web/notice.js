// The line below the header: what went wrong just now, for as long as it takes to read it, else how
// the server is.

import { ApiError } from './api.js'
import { announce, byId } from './dom.js'

const READING = 10_000 // ms

let state = ''
let problem = ''
let timer = 0

function draw() {
  byId('notice').textContent = problem || state
  byId('notice').hidden = !(problem || state)
}

/** How the server is, until that changes; '' where there is nothing to say. */
export function notice(text) {
  state = text
  draw()
}

function say(text) {
  problem = text
  draw()
}

/** What went wrong, as a text or an error; a fault of the page itself is not for visitors to read. */
export function complain(reason) {
  const known = typeof reason === 'string' || reason instanceof ApiError
  if (!known) console.error(reason)
  say(known ? (reason.message ?? reason) : 'Something on this page went wrong. Please reload it.')
  announce(problem)
  clearTimeout(timer)
  timer = setTimeout(say, READING, '')
}

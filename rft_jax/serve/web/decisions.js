// What an administrator decides: with a reason, which is kept, and the whole tab is drawn anew.

import { call } from './api.js'
import { ask } from './dialog.js'
import { announce, emit } from './dom.js'

/** Asks for a reason, then does it. question: {title, text, action}; `danger` colours it. */
export async function decide(question, path, body, danger = true) {
  const field = { label: 'Reason', required: true }
  const reason = await ask({ danger, ...question, field })
  if (reason === null) return
  try {
    await call('POST', path, { ...body, reason })
    announce('Done')
  } finally {
    emit('rft:admin')
  }
}

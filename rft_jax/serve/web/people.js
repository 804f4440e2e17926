// The users: who has said something, with quarantine, and below, folded, visitors who have not.

import { call } from './api.js'
import { decide } from './decisions.js'
import { button, h } from './dom.js'
import { paged, table } from './table.js'

const PAGE = 50
const HEADS = ['User', 'Votes', 'Trust', 'Version', 'Action']

/** Trust, which begins at a half, in words. */
export function trustWord(trust) {
  if (trust === undefined || trust === null) return ''
  return trust < 0.35 ? 'low' : trust < 0.6 ? 'none yet' : trust < 0.8 ? 'good' : 'high'
}

function quarantine({ user_id: id }) {
  const text = `Everything user ${id} has said is set aside and taught no further.`
  const question = { title: 'Quarantine this user?', text, action: 'Quarantine' }
  return decide(question, '/admin/quarantine', { user_id: id })
}

function row(user) {
  const set = button('Quarantine', 'quarantine', () => quarantine(user), {
    disabled: user.quarantined,
  })
  const trust = h('span', { title: user.trust?.toFixed(2) }, trustWord(user.trust))
  const cells = [
    h('span', {}, user.display && `${user.display} `, h('code', {}, user.user_id)),
    String(user.n_events),
    trust,
    String(user.version ?? ''),
    user.quarantined ? h('span', { class: 'state quarantined' }, 'quarantined') : set,
  ]
  return h(
    'tr',
    { testid: 'user-row', 'data-user': user.user_id },
    cells.map(cell => h('td', {}, cell)),
  )
}

function fetched(cursor, visitors) {
  const query = new URLSearchParams({ limit: PAGE, visitors, ...(cursor && { before: cursor }) })
  return call('GET', `/admin/users?${query}`)
}

/** Visitors are fetched when they are unfolded. */
function fold(count) {
  const open = ({ target }) => {
    if (!target.open || target.children.length > 1) return
    const draw = rows => table('Visitors who have not voted', HEADS, rows.map(row))
    target.append(paged('visitors', cursor => fetched(cursor, true), draw).element)
  }
  const who = count === 1 ? 'visitor who has' : 'visitors who have'
  const name = `${count.toLocaleString()} ${who} not voted`
  return h(
    'details',
    { class: 'fold', testid: 'visitors', ontoggle: open },
    h('summary', {}, name),
  )
}

/** Resolves with the element, and `users`: those of the first page. */
export async function peoplePart() {
  let visitors = 0
  let users = []
  const page = async cursor => {
    const found = await fetched(cursor, false)
    visitors = found.visitors
    users = cursor ? users : found.data
    return found
  }
  const list = paged('users', page, rows => table('Users', HEADS, rows.map(row)))
  await list.filled
  const element = h('div', { class: 'paged' }, list.element, visitors > 0 && fold(visitors))
  return { element, users }
}

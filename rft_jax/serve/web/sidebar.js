// The list of conversations.

import { call } from './api.js'
import { ask } from './dialog.js'
import { byId, emit, h, iconButton, on } from './dom.js'
import { tellTabs } from './tabs.js'

let conversations = []
let shown = null

function row({ id, title }) {
  const name = title || 'Untitled'
  const link = h(
    'a',
    {
      href: `#/c/${id}`,
      testid: 'conversation',
      dir: 'auto',
      title: name,
      'aria-current': id === shown && 'page',
    },
    name,
  )
  return h(
    'li',
    {},
    link,
    iconButton('trash', `Delete "${name}"`, 'conversation-delete', () => remove(id, name)),
  )
}

function draw() {
  const rows = conversations.map(row)
  byId('conversations').replaceChildren(
    ...(rows.length ? rows : [h('li', { class: 'muted' }, 'Nothing here yet.')]),
  )
}

async function remove(id, name) {
  const text = `"${name}" goes. What the model has learned from it stays until you undo that.`
  if (
    (await ask({ title: 'Delete this conversation?', text, action: 'Delete', danger: true })) ===
    null
  )
    return
  await call('DELETE', `/v1/conversations/${id}`)
  conversations = conversations.filter(conversation => conversation.id !== id)
  draw()
  tellTabs()
  if (id === shown) emit('rft:new')
}

export function markShown(id) {
  shown = id
  draw()
}

export async function loadConversations() {
  conversations = (await call('GET', '/v1/conversations')).data
  draw()
}

on('rft:elsewhere', loadConversations)

on('rft:conversation', ({ id, title, elsewhere }) => {
  conversations.unshift({ id, title })
  if (!elsewhere) shown = id
  draw()
})

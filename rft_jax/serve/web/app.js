// Start: who the visitor is, what the address asks for, and the parts around the conversation.

import { call, useKey } from './api.js'
import { refresh as refreshAdmin } from './admin.js'
import * as chat from './chat.js'
import { ask } from './dialog.js'
import { byId, on } from './dom.js'
import { refresh as refreshDrawer, startDrawer } from './drawer.js'
import { startLive } from './live.js'
import { complain, notice } from './notice.js'
import { flush, openOutbox } from './outbox.js'
import { startSettings } from './settings.js'
import { loadConversations, markShown } from './sidebar.js'
import { openTabs } from './tabs.js'
import { hero } from './teach.js'
import { Conversation } from './tree.js'

const POLL = 5000 // ms between looks at the served version, while no news of it come
const SOON = 700 // ms after which a lesson that was taken back is usually unlearned
let me = null
let served = {}
let live = false

function showVersion(version) {
  const changed = Object.keys(version).some(
    scope => served[scope] !== undefined && version[scope] !== served[scope],
  )
  served = { ...served, ...version }
  byId('version-global').textContent = `v${served.global}`
  byId('version-personal').textContent = `v${served.personal ?? 0}`
  if (!changed) return
  const badge = byId('version')
  badge.classList.remove('pulse')
  badge.getBoundingClientRect() // Draws it without, else the animation does not start again.
  badge.classList.add('pulse')
  if (!byId('drawer').hidden) refreshDrawer()
}

function showStatus({ version, ready }) {
  showVersion(version)
  notice(ready ? '' : 'The model is starting; answers take a little longer.')
}

async function look() {
  try {
    showStatus(await call('GET', '/v1/status'))
  } catch (error) {
    notice(
      error.status
        ? error.message
        : 'The server cannot be reached. Your votes are kept and sent later.',
    )
  }
}

async function poll() {
  if (!document.hidden && !live) await look()
  setTimeout(poll, POLL)
}

function welcome() {
  chat.show(new Conversation())
  markShown(null)
  if (matchMedia('(pointer: fine)').matches) byId('prompt').focus() // No keyboard over the welcome.
}

function fresh() {
  if (location.hash !== '#/') location.hash = '#/'
  welcome()
}

/** '#/', '#/c/ID' and '#/admin'. */
async function route() {
  const { hash } = location
  const [, view, id] = hash.split('/')
  const admin = view === 'admin' && me.scopes.includes('admin')
  byId('chat').hidden = admin
  byId('admin').hidden = !admin
  byId('title').classList.toggle('away', admin)
  for (const tab of ['chat', 'admin']) {
    byId(`tab-${tab}`).setAttribute('aria-current', (tab === 'admin') === admin ? 'page' : 'false')
  }
  document.body.classList.remove('menu')
  if (admin) await refreshAdmin()
  else if (view === 'c' && id) {
    byId('composer').hidden = false
    try {
      await chat.open(id)
    } catch (error) {
      if (hash === location.hash) fresh()
      complain(error)
    }
    if (hash === location.hash) markShown(id)
  } else if (chat.current().id) fresh()
  byId('tab-chat').href = chat.current().id ? `#/c/${chat.current().id}` : '#/'
}

function startComposer() {
  const prompt = byId('prompt')
  const fit = () => {
    prompt.style.height = 'auto'
    prompt.style.height = `${Math.min(220, prompt.scrollHeight)}px`
  }
  byId('composer').addEventListener('submit', event => {
    event.preventDefault()
    const text = prompt.value.trim()
    if (!text || byId('send').hidden) return
    prompt.value = ''
    fit()
    chat.ask(text, byId('compare').getAttribute('aria-pressed') === 'true')
  })
  prompt.addEventListener('input', fit)
  on('rft:draft', text => {
    prompt.value = text
    fit()
    prompt.focus()
  })
  prompt.addEventListener('keydown', event => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
    event.preventDefault()
    byId('composer').requestSubmit()
  })
  byId('stop').addEventListener('click', chat.stop)
  byId('compare').addEventListener('click', ({ currentTarget }) => {
    const pressed = currentTarget.getAttribute('aria-pressed') !== 'true'
    currentTarget.setAttribute('aria-pressed', String(pressed))
  })
}

function startFrame() {
  byId('menu').addEventListener('click', () => document.body.classList.toggle('menu'))
  byId('shade').addEventListener('click', () => document.body.classList.remove('menu'))
  byId('theme').addEventListener('click', () => {
    const root = document.documentElement.dataset
    const now =
      root.theme ?? (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light')
    root.theme = localStorage['rft.theme'] = now === 'dark' ? 'light' : 'dark'
  })
  byId('key').addEventListener('click', async () => {
    const text = 'It is kept until this tab is closed. Leave it empty to go on without.'
    const key = await ask({
      title: 'Use an API key',
      text,
      action: 'Use it',
      field: { label: 'Key', type: 'password' },
    })
    if (key === null) return
    useKey(key)
    location.reload()
  })
  addEventListener(
    'keydown',
    event => event.key === 'Escape' && document.body.classList.remove('menu'),
  )
  addEventListener('online', look)
  addEventListener('offline', look)
  addEventListener('unhandledrejection', event => {
    event.preventDefault()
    complain(event.reason)
  })
}

function listen() {
  byId('new').addEventListener('click', fresh)
  addEventListener('hashchange', route)
  on('rft:new', fresh)
  on('rft:problem', complain)
  on('rft:version', showVersion)
  on('rft:status', showStatus)
  on('rft:live', up => {
    if (live && !up && !document.hidden) look()
    live = up
  })
  on('rft:versions', look)
  on(
    'rft:receipt',
    ({ status }) => !live && ['served', 'rolled_back', 'retracted'].includes(status) && look(),
  )
  on('rft:delivered', ({ item }) => {
    if (item.method === 'DELETE' && !live) setTimeout(look, SOON)
  })
  on('rft:conversation', ({ id, elsewhere }) => {
    if (elsewhere) return
    history.replaceState(null, '', `#/c/${id}`)
    byId('tab-chat').href = `#/c/${id}`
  })
}

/** Asks again and again while the server is starting, busy or away. */
async function patiently(ask) {
  for (let seconds = 1; ; seconds = Math.min(10, 2 * seconds)) {
    try {
      return await ask()
    } catch (error) {
      if (!error.passing) throw error
      notice(error.message)
      await new Promise(resolve => setTimeout(resolve, 1000 * (error.wait || seconds)))
    }
  }
}

async function start() {
  startFrame()
  startComposer()
  me = await patiently(() => call('GET', '/v1/me'))
  startDrawer()
  listen()
  byId('tab-admin').hidden = !me.scopes.includes('admin')
  showVersion(me.version)
  chat.start(() => hero(me.suggestions ?? []))
  welcome()
  startSettings(me)
  openTabs(me.user_id)
  openOutbox(me.user_id)
  await patiently(loadConversations)
  await route()
  document.body.dataset.ready = 'true'
  startLive()
  poll()
  addEventListener('visibilitychange', () => document.hidden || flush())
}

start().catch(error => (error.status ? notice(error.message) : complain(error)))

// The conversation: asking, streaming, stopping, branching. It owns the tree and redraws its path.

import { call, complete } from './api.js'
import { announce, byId, emit, on } from './dom.js'
import { pairView, shuffled } from './compare.js'
import { forget, recall } from './feedback.js'
import { messageView } from './message.js'
import { waiting } from './outbox.js'
import { follow } from './receipts.js'
import { Conversation, asPrompt } from './tree.js'

let tree = new Conversation()
let views = new Map() // message -> its view
let running = null // the AbortController of the answers being written
let welcome = null

const log = () => byId('log')
const scroller = () => byId('scroller')

function atEnd() {
  const { scrollTop, scrollHeight, clientHeight } = scroller()
  return scrollHeight - scrollTop - clientHeight < 80
}

function toEnd() {
  scroller().scrollTop = scroller().scrollHeight
}

const handlers = {
  again: message => answerAgain(message),
  retry: message => {
    tree.remove(message)
    answerAgain(message)
  },
  choose: (message, focus) => {
    tree.choose(message)
    draw()
    const buttons = [`[data-testid="${focus}"]:enabled`, '.branches button:enabled']
    const view = views.get(message).element
    buttons
      .map(selector => view.querySelector(selector))
      .find(Boolean)
      ?.focus()
  },
}

function viewOf(message) {
  const siblings = tree.siblings(message)
  const key = [
    message.state,
    message.pair?.ready,
    siblings.indexOf(message),
    siblings.length,
  ].join()
  const known = views.get(message)
  if (known?.key === key) return known // An editor that is open in it stays open.
  const make = () => pairView(message.pair, winner => tree.choose(winner))
  return { key, ...(message.pair ? make() : messageView(message, tree, handlers)) }
}

/** Redraws the path; an empty conversation shows the welcome. */
export function draw() {
  const path = tree.path()
  views = new Map(path.map(message => [message, viewOf(message)]))
  const elements = [...views.values()].map(view => view.element)
  log().replaceChildren(...(elements.length ? elements : [welcome()]))
  byId('title').textContent = tree.title || 'New conversation'
  byId('send').hidden = running !== null
  byId('stop').hidden = running === null
}

function metadata(user, compare) {
  const parent = user.stored ? user.id : user.parent_id // A stored question gets one more answer.
  return {
    ...(tree.id && { conversation_id: tree.id }),
    ...(parent && { parent_message_id: parent }),
    ...(compare && { compare }),
  }
}

/** Fills an answer from the stream; what goes wrong is kept in it. Never throws. */
async function write(message, user, signal, compare, named) {
  const here = tree
  const body = {
    model: message.model,
    messages: asPrompt(here.id ? [user] : here.upTo(user)), // What is stored the server knows.
    metadata: metadata(user, compare),
  }
  try {
    for await (const piece of complete(body, signal)) {
      if (piece.rft) adopt(here, user, message, piece.rft, named)
      if (!piece.text) continue
      const follow = atEnd()
      message.shown ??= performance.now()
      message.content += piece.text
      views.get(message.pair?.a ?? message)?.paint()
      if (follow) requestAnimationFrame(toEnd)
    }
    message.state = 'done'
  } catch (error) {
    message.state = error.name === 'AbortError' && message.stored ? 'stopped' : 'failed'
    message.error = error.name === 'AbortError' ? 'Stopped before the answer began.' : error.message
  }
  message.shown ??= performance.now()
}

/** The server's names for what the page has made up so far. */
function adopt(here, user, message, rft, named) {
  here.rename(user, rft.user_message_id)
  here.rename(message, rft.message_id)
  user.stored = message.stored = true
  message.parent_id = user.id
  message.version = rft.version
  message.token = rft.feedback_token
  if (!here.id) {
    here.id = rft.conversation_id
    here.title = user.content.slice(0, 60)
    emit('rft:conversation', here)
  }
  if (message.model === 'rft') emit('rft:version', rft.version)
  named?.()
}

function begin(user, more) {
  return tree.add({
    id: crypto.randomUUID(),
    parent_id: user.id,
    role: 'assistant',
    state: 'streaming',
    ...more,
  })
}

/** Runs `work` as what the Stop button stops. */
async function run(work) {
  const mine = (running = new AbortController())
  const here = tree
  draw()
  toEnd()
  announce('The answer is being written.')
  await work(mine.signal)
  if (running === mine) running = null
  if (here !== tree) return
  const follow = atEnd()
  draw()
  if (follow) toEnd()
  announce('The answer is complete.')
}

function answer(user) {
  const message = begin(user, { model: 'rft' })
  return run(signal => write(message, user, signal))
}

function answerAgain(message) {
  if (running) return
  return answer(tree.find(message.parent_id))
}

/** B is asked for once the server has named the question, so that both hang under the same. */
function answerTwice(user) {
  const [a, b] = shuffled().map(model => begin(user, { model }))
  a.pair = b.pair = { a, b, ready: false }
  tree.choose(a)
  return run(async signal => {
    let named
    const question = new Promise(resolve => (named = resolve))
    const first = write(a, user, signal, 'a', named)
    await Promise.race([question, first])
    await Promise.all([first, write(b, user, signal, 'b')])
    a.pair.ready = a.state === 'done' && b.state === 'done'
    if (!a.pair.ready) dissolve(a.pair)
  })
}

/** Without two complete answers there is nothing to compare: they become branches. */
function dissolve({ a, b }) {
  delete a.pair
  delete b.pair
  tree.choose(a.state === 'done' ? a : b)
}

/** Asks; `twice` for two answers to compare. */
export function ask(text, twice) {
  if (running) return
  const parent = tree.path().at(-1)
  const user = tree.add({
    id: crypto.randomUUID(),
    parent_id: parent?.id ?? null,
    role: 'user',
    content: text,
  })
  return twice ? answerTwice(user) : answer(user)
}

export function stop() {
  running?.abort()
}

/** Shows another conversation; answers that are being written stop. */
export function show(next) {
  stop()
  running = null
  tree = next
  draw()
  toEnd()
}

export function current() {
  return tree
}

/** Fetches a conversation of the visitor's and shows it. */
export async function open(id) {
  if (tree.id === id) return
  const unsent = waiting() // Before the server is asked: what it gets later, it does not tell.
  const loaded = Conversation.from(await call('GET', `/v1/conversations/${id}`))
  for (const message of loaded.messages) {
    message.stored = true
    Object.values(message.feedback).forEach(follow)
  }
  recall(loaded.messages, unsent)
  loaded.prefer()
  show(loaded)
}

/** `hero()` makes what an empty conversation shows. */
export function start(hero) {
  welcome = hero
  const refresh = message => views.get(message)?.refresh?.()
  on('rft:changed', refresh)
  on('rft:retracted', id => {
    const message = forget(tree.messages, id)
    if (message) refresh(message)
  })
}

// The conversation: asking, streaming, stopping, branching. It owns the tree and redraws its path.

import { call, complete, uuid7 } from './api.js'
import { announce, byId, emit, fill, on } from './dom.js'
import { pairView, shuffled } from './compare.js'
import { forget, recall } from './feedback.js'
import { horizonView, messageView } from './message.js'
import { waiting } from './outbox.js'
import { follow } from './receipts.js'
import { sampling } from './settings.js'
import { tellTabs } from './tabs.js'
import { Conversation, horizonOf } from './tree.js'

let tree = new Conversation()
let views = new Map() // message -> its view
let running = null // the AbortController of the answers being written
let behind = false // Whether other tabs have done something to it that is not shown yet.
let opening = 0 // conversations that were asked for; only the last is shown
let given = 0 // votes that this tab has given or taken back
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
  retry: message => tryAgain(message),
  reword: message => {
    const question = tree.find(message.parent_id)
    tree.cut(question)
    draw()
    emit('rft:draft', question.content)
  },
  restart: message => {
    const { content } = tree.find(message.parent_id)
    emit('rft:new')
    emit('rft:draft', content)
  },
  compare: message => {
    const { a, b } = message.compared
    a.pair = b.pair = message.compared
    draw()
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
  const place = [siblings.indexOf(message), siblings.length]
  const key = [message.state, message.pair?.ready, ...place].join()
  const known = views.get(message)
  if (known?.key === key) return known // An editor that is open in it stays open.
  const make = () => pairView(message.pair, () => tree.prefer(message.pair))
  return { key, ...(message.pair ? make() : messageView(message, tree, handlers)) }
}

/** Redraws the path; an empty conversation shows the welcome. */
export function draw() {
  const path = tree.path()
  const first = horizonOf(path)
  views = new Map(path.map(message => [message, viewOf(message)]))
  const elements = path.flatMap(message => [
    ...(message === first ? [horizonView()] : []),
    views.get(message).element,
  ])
  fill(log(), elements.length ? elements : [welcome()])
  byId('title').textContent = tree.title || 'New conversation'
  byId('send').hidden = running !== null
  byId('stop').hidden = running === null
}

/** Fills an answer from the stream; what goes wrong is kept in it. Never throws. */
async function write(message, user, signal, compare, named) {
  const here = tree
  const body = {
    model: message.model,
    messages: [{ role: 'user', content: user.content }], // The server knows what was before.
    metadata: { ...here.placeOf(user), ...(compare && { compare }) },
    ...sampling(),
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
    const stopped = error.name === 'AbortError'
    message.error = stopped ? 'Stopped before the answer began.' : error.message
    message.refusal = error.status === 404 ? 'gone' : error.code
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
  message.dropped = rft.dropped ?? 0
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
    id: uuid7(),
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
  tellTabs()
  if (here !== tree) return
  const follow = atEnd()
  draw()
  if (follow) toEnd()
  const failed = tree.path().at(-1)?.state === 'failed'
  announce(failed ? 'There is no answer.' : 'The answer is complete.')
  if (behind) catchUp()
}

function answer(user) {
  const message = begin(user, { model: 'rft' })
  return run(signal => write(message, user, signal))
}

function answerAgain(message) {
  if (running) return
  return answer(tree.find(message.parent_id))
}

/** What the server has keeps its place, and gets one more answer; else the question is asked anew. */
function tryAgain(message) {
  if (running) return
  const question = tree.find(message.parent_id)
  if (message.stored) return answer(question)
  if (!tree.children(message.id).length) {
    tree.remove(message)
    return answer(question)
  }
  tree.cut(question)
  return ask(question.content)
}

/** B is asked for once the server has named the question, so that both hang under the same. */
function answerTwice(user) {
  const [a, b] = shuffled().map((model, i) => begin(user, { model, pair_side: 'ab'[i] }))
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
  const place = { id: uuid7(), parent_id: parent?.id ?? null }
  const user = tree.add({ ...place, role: 'user', content: text })
  return twice ? answerTwice(user) : answer(user)
}

export function stop() {
  running?.abort()
}

/** Shows another conversation; answers that are being written stop. */
export function show(next) {
  stop()
  running = null
  opening++
  tree = next
  behind = false
  draw()
  toEnd()
}

export function current() {
  return tree
}

/** Fetches a conversation of the visitor's and shows it, unless another is wanted meanwhile. */
export async function open(id) {
  const mine = ++opening
  if (tree.id === id) return
  const found = await fetched(id)
  if (mine === opening) show(found)
}

/** A conversation as the server has it; `before`: as it is shown. */
async function fetched(id, before) {
  let unsent, data, seen
  do {
    seen = given
    unsent = waiting() // Before the server is asked: what it gets later, it does not tell.
    data = await call('GET', `/v1/conversations/${id}`)
  } while (seen !== given)
  const found = Conversation.from(data, before)
  for (const { feedback } of found.messages) {
    Object.values(feedback).forEach(event => event.status && follow(event))
  }
  recall(found.messages, unsent)
  found.settle()
  return found
}

/** Shows what other tabs have done to this conversation, once nothing is being written here. */
async function catchUp() {
  const here = tree
  behind = running !== null
  if (behind || !here.id) return
  const found = await fetched(here.id, here).catch(error => error)
  if (found.status === 404 && here === tree) {
    emit('rft:new')
    emit('rft:problem', 'This conversation was deleted in another tab.')
  }
  if (!(found instanceof Conversation) || here !== tree || running) return
  const follow = atEnd()
  tree = found
  draw()
  for (const view of views.values()) view.refresh?.()
  if (follow) toEnd()
}

/** `hero()` makes what an empty conversation shows. */
export function start(hero) {
  welcome = hero
  const refresh = message => views.get(message)?.refresh?.()
  on('rft:changed', refresh)
  on('rft:retracted', id => {
    const message = forget(tree.messages, id)
    if (message?.pair) tree.settle()
    if (message) refresh(message)
  })
  on('rft:elsewhere', catchUp)
  on('rft:waiting', () => given++)
}

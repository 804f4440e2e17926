// What teaches everyone: what people wish for, who agrees, and an administrator's word on it.

import { call } from './api.js'
import { decide } from './decisions.js'
import { button, h } from './dom.js'
import { CHIPS } from './feedback.js'
import { trustWord } from './people.js'
import { paged } from './table.js'

const PAGE = 20
const MOST = 500 // rows that the server gives at once
const STATES = {
  held: 'Waiting',
  accepted: 'Teaches everyone',
  quarantined: 'Set aside',
  rejected: 'Rejected',
}
const ACTS = {
  release: {
    states: ['held', 'quarantined', 'rejected'],
    label: 'Release',
    title: 'Teach this to everyone?',
    text: 'Nobody else has to agree. It is still tried before it is served.',
  },
  reject: {
    states: ['held', 'accepted', 'quarantined'],
    label: 'Reject',
    title: 'Never teach this to everyone?',
    text:
      'Those who said it keep it for themselves. What everyone has learned already stays until ' +
      'you roll back.',
  },
  quarantine: {
    states: ['held', 'accepted'],
    label: 'Set aside',
    title: 'Set this aside?',
    text: 'These votes teach nobody any more, not even those who gave them.',
  },
}
let state = 'held'
let length = PAGE // rows that are shown: as many are there after a decision

function when(us) {
  return new Date(us / 1000).toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' })
}

/** What is wished for, in words: what kind of vote, and the text that it is about. */
function wanted({ kind, direction, answer, other, text, better }) {
  const [, way] = direction.split(':')
  const votes = { up: 'Say this', down: 'Do not say this' }
  const pair = better === other ? [other, answer] : [answer, other]
  const chips = text.split(' ').map(word => CHIPS[word] ?? word)
  const views = {
    edit: () => [['Say this', text], ['instead of', answer]],
    preference: () => compared(direction, pair),
    critique: () => [['Is wrong', answer], ['because', chips.join(' ')]],
  }
  return (views[kind] ?? (() => [[votes[way] ?? 'Neither good nor bad', answer]]))()
}

function compared(direction, [one, other]) {
  if (direction.startsWith('preference:tie')) return [['As good is', one], ['as', other]]
  if (direction.startsWith('preference:both_bad')) return [['Both are bad:', one], ['and', other]]
  return [['Better is', one], ['than', other]]
}

function person(author) {
  const name = author.display || author.user_id.slice(-8)
  const about = [
    `trust: ${trustWord(author.trust)}`,
    author.young && 'new account',
    author.origin && `counts together with others (${author.origin})`,
  ]
  const props = { class: 'person', title: author.user_id, testid: 'wish-author' }
  return h('li', props, h('strong', { dir: 'auto' }, name), ` ${about.filter(Boolean).join(', ')}`)
}

function count({ people, needed, against, state: now }) {
  if (!people) return 'nobody says this any more'
  const agree = `${people} ${people === 1 ? 'person agrees' : 'people agree'}`
  const need = now === 'held' ? `, ${needed} are needed` : ''
  return agree + need + (against ? `, ${against} disagree` : '')
}

function act(wish, name) {
  const { label, title, text } = ACTS[name]
  const question = { title, text, action: label }
  const path = `/admin/agreements/${name}`
  const go = () => decide(question, path, { id: wish.id, state: wish.state }, name !== 'release')
  return button(label, `wish-${name}`, go)
}

function row(wish) {
  const parts = wanted(wish).map(([name, text]) =>
    h('p', {}, h('span', { class: 'muted' }, `${name} `), h('q', { dir: 'auto' }, text)),
  )
  const more = wish.n_authors - wish.authors.length
  const acts = Object.keys(ACTS).filter(
    name => ACTS[name].states.includes(wish.state) && (wish.people || name !== 'release'),
  )
  const learned = wish.applied_version ? ` · in version ${wish.applied_version}` : ''
  const reasons = wish.reasons.join('; ').replace(/^\w+: /, '')
  return h(
    'li',
    { class: 'wish', testid: 'wish-row', 'data-wish': wish.id, 'data-state': wish.state },
    h('p', { class: 'wish-asked', dir: 'auto' }, wish.question),
    parts,
    h(
      'p',
      { class: 'small muted' },
      h('span', { class: `state ${wish.state}` }, STATES[wish.state]),
      ` ${count(wish)} · ${when(wish.first_us)}`,
      wish.last_us > wish.first_us && ` to ${when(wish.last_us)}`,
      learned,
      wish.state !== 'held' && reasons && h('span', { dir: 'auto' }, ` · ${reasons}`),
    ),
    h(
      'details',
      {},
      h('summary', {}, 'Who'),
      h('ul', {}, wish.authors.map(person), more > 0 && h('li', {}, `and ${more} more`)),
    ),
    h('div', { class: 'actions' }, acts.map(name => act(wish, name))),
  )
}

function fetched(cursor) {
  const limit = cursor ? PAGE : length
  const query = new URLSearchParams({ limit, state, ...(cursor && { before: cursor }) })
  return call('GET', `/admin/agreements?${query}`)
}

function tabs(counts, change) {
  const buttons = Object.entries(STATES).map(([name, label]) => {
    const props = { class: 'chip', 'aria-pressed': String(name === state) }
    return button(`${label} ${counts[name]}`, `wishes-${name}`, () => change(name), props)
  })
  return h('div', { class: 'chips', role: 'group', 'aria-label': 'Show' }, buttons)
}

/** Resolves with the element once its first page is there. */
export async function agreementsPart() {
  const title = 'What teaches everyone'
  const element = h('section', { class: 'wishes', testid: 'wishes', 'aria-label': title })
  let filling = null
  const fill = async () => {
    const mine = (filling = {})
    let counts = {}
    const page = async cursor => {
      const found = await fetched(cursor)
      counts = found.counts
      return found
    }
    const none = h('p', { class: 'muted' }, 'Nothing here.')
    const draw = rows => {
      length = Math.min(MOST, Math.max(PAGE, rows.length))
      return rows.length ? h('ul', {}, rows.map(row)) : none
    }
    const list = paged('wishes', page, draw)
    await list.filled
    if (mine !== filling) return // Another state was chosen meanwhile.
    const change = async name => {
      state = name
      length = PAGE
      await fill()
      element.querySelector(`[data-testid="wishes-${state}"]`).focus()
    }
    element.replaceChildren(h('h2', {}, title), tabs(counts, change), list.element)
  }
  await fill()
  return element
}

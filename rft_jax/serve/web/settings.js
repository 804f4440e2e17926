// How answers are written: how freely, and how long at most. Kept in this browser.

import { modal } from './dialog.js'
import { byId, h } from './dom.js'

const STORE = 'rft.settings'
const USUAL = { temperature: 1, length: 'usual' }
const LENGTHS = { short: 'Short', usual: 'Usual', long: 'Long' }
const FREEDOM = [
  [0, 'Always the same answer to the same question'],
  [0.5, 'Little variety'],
  [0.9, 'Some variety'],
  [1.1, 'The usual variety'],
  [1.5, 'A lot of variety, more surprises'],
  [2, 'Very free, may make little sense'],
]

let limits = null // {max_tokens, most_tokens} of the server

function chosen() {
  try {
    return { ...USUAL, ...JSON.parse(localStorage.getItem(STORE)) }
  } catch {
    return USUAL
  }
}

/** What a request for an answer says about it; nothing where the visitor has changed nothing. */
export function sampling() {
  const { temperature, length } = chosen()
  const { max_tokens: usual, most_tokens: most } = limits
  const tokens = { short: Math.ceil(usual / 4), long: Math.min(most, usual * 4) }[length]
  return {
    ...(temperature !== USUAL.temperature && { temperature }),
    ...(tokens && { max_tokens: tokens }),
  }
}

function words(temperature) {
  return FREEDOM.find(([most]) => temperature <= most)[1]
}

function variety(value) {
  const said = h('output', { class: 'muted small', for: 'temperature' }, words(value))
  const slide = ({ target }) => {
    said.textContent = words(target.valueAsNumber)
    target.setAttribute('aria-valuetext', said.textContent)
  }
  const range = { type: 'range', min: 0, max: 2, step: 0.1, value, oninput: slide }
  const input = h('input', {
    id: 'temperature',
    testid: 'temperature',
    'aria-valuetext': words(value),
    ...range,
  })
  return [h('label', { for: 'temperature' }, 'Variety'), input, said]
}

function lengths(value) {
  const options = Object.entries(LENGTHS).map(([name, label]) =>
    h('option', { value: name, selected: name === value }, label),
  )
  const select = h('select', { class: 'field', id: 'length', testid: 'length' }, options)
  return [h('label', { for: 'length' }, 'Longest answer'), select]
}

function show() {
  const { temperature, length } = chosen()
  const changed = Object.keys(sampling()).length > 0
  const button = byId('settings')
  button.setAttribute('data-changed', String(changed))
  const how = `${words(temperature)}; longest answer: ${LENGTHS[length].toLowerCase()}`
  button.title = `How answers are written: ${how}`
}

async function open() {
  const before = chosen()
  const fields = [...variety(before.temperature), ...lengths(before.length)]
  const given = await modal({ title: 'How answers are written', action: 'Use this', fields })
  if (!given) return
  const temperature = given.querySelector('#temperature').valueAsNumber
  const length = given.querySelector('#length').value
  localStorage.setItem(STORE, JSON.stringify({ temperature, length }))
  show()
}

/** `me`: of GET /v1/me, with the server's limits. */
export function startSettings(me) {
  limits = me
  byId('settings').addEventListener('click', open)
  addEventListener('storage', ({ key }) => key === STORE && show())
  show()
}

// The administrator's tab: curves, versions with rollback and freeze, users with quarantine.

import { agreementsPart } from './agreements.js'
import { call } from './api.js'
import { ask } from './dialog.js'
import { decide } from './decisions.js'
import { button, byId, h, on } from './dom.js'
import { peoplePart } from './people.js'
import { plot, rolling } from './plot.js'
import { seconds } from './receipts.js'
import { table } from './table.js'

const percent = value => `${Math.round(value * 100)} %`
let scope = 'global'

function plots({ latency, reflection, satisfaction, versions }) {
  // What everybody learns waits for others who agree: that is not how long learning takes.
  const own = latency.filter(row => row.scope !== 'global')
  const waits = own.map(({ t_us, ms }) => [t_us, ms])
  const arms = [...new Set(satisfaction.map(({ arm }) => arm))]
  const rates = arm =>
    satisfaction.filter(row => row.arm === arm && row.n).map(({ t_us, up, n }) => [t_us, up / n])
  return [
    plot({
      title: 'From vote to served, personal',
      testid: 'plot-latency',
      format: seconds,
      series: [
        { name: 'p50', points: rolling(waits, 0.5) },
        { name: 'p95', points: rolling(waits, 0.95) },
      ],
    }),
    plot({
      title: 'Feedback reflected in answers',
      testid: 'plot-reflection',
      format: percent,
      range: [0, 1],
      series: [
        { name: 'accuracy', points: reflection.map(({ t_us, accuracy }) => [t_us, accuracy]) },
      ],
    }),
    plot({
      title: 'Satisfaction',
      testid: 'plot-satisfaction',
      format: percent,
      range: [0, 1],
      series: arms.map(arm => ({ name: arm, points: rates(arm) })),
    }),
    plot({
      title: 'Versions published',
      testid: 'plot-versions',
      stepped: true,
      format: value => String(Math.round(value)),
      series: [{ name: 'version', points: versions.map(({ t_us, version }) => [t_us, version]) }],
    }),
  ]
}

function rollback(version) {
  const text =
    `Answers come from version ${version} at once. Later lessons are set aside, and learning stops ` +
    'until you resume it.'
  return decide(
    { title: `Roll back to version ${version}?`, text, action: 'Roll back' },
    '/admin/rollback',
    { scope, version },
  )
}

async function freeze(frozen) {
  await call('POST', '/admin/freeze', { scope, frozen })
  await refresh()
}

function versionRow(row, live) {
  const isLive = row.version === live
  const back = button('Roll back', 'rollback', () => rollback(row.version), {
    'data-version': row.version,
  })
  const cells = [
    String(row.version),
    h(
      'span',
      { class: `state ${isLive ? 'live' : row.status}` },
      isLive ? 'live' : row.status.replace('_', ' '),
    ),
    row.created_us ? new Date(row.created_us / 1000).toLocaleString() : 'before it learned',
    String(row.n_events ?? 0),
    row.kl_to_ref?.toFixed(3) ?? '',
    row.version < live && row.status !== 'rolled_back' ? back : '',
  ]
  return h(
    'tr',
    { testid: 'version-row', 'data-version': row.version, 'data-live': String(isLive) },
    cells.map(cell => h('td', {}, cell)),
  )
}

function scopeChoice(users) {
  const option = (value, name) => h('option', { value, selected: value === scope }, name)
  const taught = users.filter(({ n_events: n }) => n)
  const names = new Map([[scope, scope.replace('u:', '')]])
  for (const { user_id: id, display } of taught) names.set(`u:${id}`, display || id)
  names.set('global', 'Everybody')
  const options = [...names].map(([value, name]) => option(value, name))
  const change = event => {
    scope = event.target.value
    refresh()
  }
  return h(
    'label',
    { class: 'scope' },
    'Scope ',
    h('select', { class: 'field', testid: 'scope', onchange: change }, options),
  )
}

async function quarantineEvents() {
  const field = { label: 'Ids of votes, separated by spaces', required: true }
  const ids = await ask({ title: 'Quarantine votes', action: 'Next', field })
  if (!ids) return
  const event_ids = ids.split(/[\s,]+/)
  await decide(
    { title: `Quarantine ${event_ids.length} votes?`, action: 'Quarantine' },
    '/admin/quarantine',
    { event_ids },
  )
}

function versionsPart({ live, frozen, data }, users) {
  const toggle = button(
    frozen ? 'Learning is frozen: resume' : 'Freeze learning',
    'freeze',
    () => freeze(!frozen),
    {
      'aria-pressed': String(frozen),
      class: frozen ? 'button danger' : 'button',
    },
  )
  const rows = [...data].sort((a, b) => b.version - a.version).map(row => versionRow(row, live))
  const heads = ['Version', 'State', 'Made', 'Votes', 'Distance from the start', 'Action']
  return [h('div', { class: 'bar' }, scopeChoice(users), toggle), table('Versions', heads, rows)]
}

/** Fetches and draws the whole tab. */
export async function refresh() {
  const [metrics, versions, people, agreements] = await Promise.all([
    call('GET', '/admin/metrics'),
    call('GET', `/admin/versions?scope=${encodeURIComponent(scope)}`),
    peoplePart(),
    agreementsPart(),
  ])
  byId('admin').replaceChildren(
    h(
      'div',
      { class: 'admin-inner' },
      h('h1', {}, 'How it learns'),
      h('div', { class: 'plots' }, plots(metrics)),
      agreements,
      versionsPart(versions, people.users),
      people.element,
      h(
        'div',
        { class: 'bar' },
        button('Quarantine votes ...', 'quarantine-events', quarantineEvents),
      ),
    ),
  )
}

on('rft:admin', refresh)

// The administrator's tab: curves, versions with rollback and freeze, users with quarantine.

import { call } from './api.js'
import { ask } from './dialog.js'
import { announce, button, byId, h } from './dom.js'
import { plot, rolling } from './plot.js'
import { seconds } from './receipts.js'

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

/** Asks for a reason, does it, shows everything anew. */
async function act(question, path, body) {
  const reason = await ask({
    ...question,
    danger: true,
    field: { label: 'Reason', required: true },
  })
  if (reason === null) return
  await call('POST', path, { ...body, reason })
  announce('Done')
  await refresh()
}

function rollback(version) {
  const text =
    `Answers come from version ${version} at once. Later lessons are set aside, and learning stops ` +
    'until you resume it.'
  return act(
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

function table(caption, heads, rows) {
  const head = h(
    'tr',
    {},
    heads.map(name => h('th', { scope: 'col' }, name)),
  )
  const body = rows.length
    ? rows
    : [h('tr', {}, h('td', { colspan: heads.length, class: 'muted' }, 'None yet.'))]
  return h(
    'div',
    { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': caption },
    h('table', {}, h('caption', {}, caption), h('thead', {}, head), h('tbody', {}, body)),
  )
}

function scopeChoice(users) {
  const option = (value, name) => h('option', { value, selected: value === scope }, name)
  const taught = users.filter(({ n_events: n }) => n)
  const options = [
    option('global', 'Everybody'),
    ...taught.map(({ user_id: id, display }) => option(`u:${id}`, display || id)),
  ]
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

function quarantineUser({ user_id: id }) {
  const text = `Everything user ${id} has said is set aside and taught no further.`
  return act({ title: 'Quarantine this user?', text, action: 'Quarantine' }, '/admin/quarantine', {
    user_id: id,
  })
}

async function quarantineEvents() {
  const field = { label: 'Ids of votes, separated by spaces', required: true }
  const ids = await ask({ title: 'Quarantine votes', action: 'Next', field })
  if (!ids) return
  const event_ids = ids.split(/[\s,]+/)
  await act(
    { title: `Quarantine ${event_ids.length} votes?`, action: 'Quarantine' },
    '/admin/quarantine',
    { event_ids },
  )
}

function userRow(user) {
  const set = button('Quarantine', 'quarantine', () => quarantineUser(user), {
    disabled: user.quarantined,
  })
  const cells = [
    h('span', {}, user.display && `${user.display} `, h('code', {}, user.user_id)),
    String(user.n_events),
    user.trust?.toFixed(2) ?? '',
    String(user.version ?? ''),
    user.quarantined ? h('span', { class: 'state quarantined' }, 'quarantined') : set,
  ]
  return h(
    'tr',
    { testid: 'user-row', 'data-user': user.user_id },
    cells.map(cell => h('td', {}, cell)),
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
  const heads = ['Version', 'State', 'Made', 'Votes', 'KL to the start', 'Action']
  return [h('div', { class: 'bar' }, scopeChoice(users), toggle), table('Versions', heads, rows)]
}

/** Fetches and draws the whole tab. */
export async function refresh() {
  const paths = [
    '/admin/metrics',
    `/admin/versions?scope=${encodeURIComponent(scope)}`,
    '/admin/users',
  ]
  const [metrics, versions, { data: users }] = await Promise.all(
    paths.map(path => call('GET', path)),
  )
  const heads = ['User', 'Votes', 'Trust', 'Version', 'Action']
  byId('admin').replaceChildren(
    h(
      'div',
      { class: 'admin-inner' },
      h('h1', {}, 'How it learns'),
      h('div', { class: 'plots' }, plots(metrics)),
      versionsPart(versions, users),
      table('Users', heads, users.sort((a, b) => b.n_events - a.n_events).map(userRow)),
      h(
        'div',
        { class: 'bar' },
        button('Quarantine votes ...', 'quarantine-events', quarantineEvents),
      ),
    ),
  )
}

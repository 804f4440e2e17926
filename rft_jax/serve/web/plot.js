// A small line chart as SVG, with the same numbers as a table for whoever cannot see it.

import { h, svg } from './dom.js'

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [460, 190, 46, 12, 12, 26]

function ticks(low, high) {
  const rough = (high - low) / 3 || 1
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = [1, 2, 5, 10].map(n => n * power).find(n => n >= rough)
  const first = Math.ceil(low / step - 1e-9)
  return Array.from(
    { length: Math.floor(high / step + 1e-9) - first + 1 },
    (_, i) => (first + i) * step,
  )
}

function bounds(values) {
  const high = Math.max(...values)
  return high > 0 ? [0, high] : [0, 1]
}

/** The first and the last time; a single one gets a minute around it. */
function span(times) {
  const [first, last] = [Math.min(...times), Math.max(...times)]
  return last > first ? [first, last] : [first - 30e6, last + 30e6]
}

function clock(us) {
  return new Date(us / 1000).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })
}

function axes(x, y, [t0, t1], [low, high], format) {
  const rows = ticks(low, high).flatMap(value => [
    svg('line', { class: 'grid', x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }),
    svg('text', { x: LEFT - 7, y: y(value) + 4, 'text-anchor': 'end' }, format(value)),
  ])
  const time = (t, anchor) =>
    svg('text', { x: x(t), y: HEIGHT - 6, 'text-anchor': anchor }, clock(t))
  return [...rows, time(t0, 'start'), time(t1, 'end')]
}

function line(points, x, y, i, stepped) {
  const place = ([t, value], k) => {
    const [left, top] = [x(t).toFixed(1), y(value).toFixed(1)]
    return k && stepped ? `H${left}V${top}` : `${k ? 'L' : 'M'}${left} ${top}`
  }
  const d = points.map(place).join('')
  const [t, value] = points.at(-1)
  return [
    svg('path', { class: `line line-${i}`, d }),
    svg('circle', { class: `dot dot-${i}`, cx: x(t), cy: y(value), r: 3.5 }),
  ]
}

function table(series, format) {
  const rows = series.flatMap(({ name, points }) =>
    points.map(([t, value]) =>
      h(
        'tr',
        {},
        h('td', {}, name),
        h('td', {}, new Date(t / 1000).toLocaleTimeString()),
        h('td', {}, format(value)),
      ),
    ),
  )
  const head = h(
    'tr',
    {},
    ['Series', 'Time', 'Value'].map(name => h('th', { scope: 'col' }, name)),
  )
  return h(
    'details',
    {},
    h('summary', {}, 'As a table'),
    h('div', { class: 'scroll' }, h('table', {}, h('thead', {}, head), h('tbody', {}, rows))),
  )
}

/**
 * series: [{name, points: [[t_us, value]]}]; format(value) writes a value with its unit; `stepped`
 * values hold until the next one.
 */
export function plot({ title, series, format, testid, range, stepped }) {
  const drawn = series.filter(({ points }) => points.length)
  const caption = h(
    'figcaption',
    {},
    h('span', {}, title),
    h(
      'span',
      { class: 'legend' },
      drawn.map(({ name, points }, i) =>
        h('span', { class: `key key-${i}` }, `${name} ${format(points.at(-1)[1])}`),
      ),
    ),
  )
  if (!drawn.length)
    return h(
      'figure',
      { class: 'plot', testid },
      caption,
      h('p', { class: 'muted' }, 'No data yet.'),
    )
  const all = drawn.flatMap(({ points }) => points)
  const times = span(all.map(([t]) => t))
  const [low, high] = range ?? bounds(all.map(([, value]) => value))
  const x = t => LEFT + ((t - times[0]) / (times[1] - times[0])) * (WIDTH - LEFT - RIGHT)
  const y = value => HEIGHT - BOTTOM - ((value - low) / (high - low)) * (HEIGHT - TOP - BOTTOM)
  const lasts = drawn.map(({ name, points }) => `${name}, last ${format(points.at(-1)[1])}`)
  const label = `${title}: ${lasts.join('; ')}`
  const chart = svg(
    'svg',
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': label },
    axes(x, y, times, [low, high], format),
    drawn.flatMap(({ points }, i) => line(points, x, y, i, stepped)),
  )
  return h('figure', { class: 'plot', testid }, caption, chart, table(drawn, format))
}

/** The q-quantile of the last `n` values at every point of [[t, value]]. */
export function rolling(points, q, n = 20) {
  return points.map(([t], i) => {
    const window = points
      .slice(Math.max(0, i + 1 - n), i + 1)
      .map(([, value]) => value)
      .sort((a, b) => a - b)
    return [t, window[Math.min(window.length - 1, Math.floor(q * window.length))]]
  })
}

// Elements without markup in strings: a builder, icons, and what a screen reader is told.

const SVG = 'http://www.w3.org/2000/svg'

// Paths of 24 x 24 line icons.
const ICONS = {
  up: [
    'M7 11v9H4v-9z',
    'M7 11l4-8a2.5 2.5 0 0 1 2.5 2.7L13 9h5.5a2 2 0 0 1 2 2.4l-1.3 7a2 2 0 0 1-2 1.6H7',
  ],
  down: [
    'M7 13V4H4v9z',
    'M7 13l4 8a2.5 2.5 0 0 0 2.5-2.7L13 15h5.5a2 2 0 0 0 2-2.4l-1.3-7a2 2 0 0 0-2-1.6H7',
  ],
  star: ['M12 3.5l2.6 5.4 5.9.8-4.3 4.1 1.1 5.9L12 16.9l-5.3 2.8 1.1-5.9L3.5 9.7l5.9-.8z'],
  edit: ['M4 20h4L19.5 8.5a2.1 2.1 0 0 0-3-3L5 17z', 'M14.5 7.5l3 3'],
  flag: ['M5 21V4', 'M5 4h12l-2.5 4.5L17 13H5'],
  again: [
    'M20 11a8 8 0 0 0-14.5-4L3.5 9',
    'M3.5 4v5h5',
    'M4 13a8 8 0 0 0 14.5 4l2-2',
    'M20.5 20v-5h-5',
  ],
  send: ['M12 19V5', 'M5.5 11.5L12 5l6.5 6.5'],
  stop: ['M7 7h10v10H7z'],
  plus: ['M12 5v14', 'M5 12h14'],
  menu: ['M4 7h16', 'M4 12h16', 'M4 17h16'],
  close: ['M6 6l12 12', 'M18 6L6 18'],
  trash: ['M5 7h14', 'M10 7V4h4v3', 'M7 7l1 13h8l1-13'],
  left: ['M14.5 6l-6 6 6 6'],
  right: ['M9.5 6l6 6-6 6'],
  check: ['M5 12.5l4.5 4.5L19 7.5'],
  undo: ['M8 5L4 9l4 4', 'M4 9h10a5.5 5.5 0 0 1 0 11H9'],
  book: [
    'M12 6.5C10 5 7 4.5 4 5v13c3-.5 6 0 8 1.5 2-1.5 5-2 8-1.5V5c-3-.5-6 0-8 1.5z',
    'M12 6.5v13',
  ],
  theme: ['M12 4a8 8 0 1 0 0 16z', 'M12 4a8 8 0 0 1 0 16'],
  copy: ['M9 9h11v11H9z', 'M5 15H4V4h11v1'],
  columns: ['M4 5h16v14H4z', 'M12 5v14'],
  warn: ['M12 4l9 16H3z', 'M12 10v4.5', 'M12 17.3v.2'],
  clock: ['M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17z', 'M12 7.5V12l3 2'],
  key: ['M8 12a4 4 0 1 0 0 .1z', 'M8 12h12v4', 'M16 12v3'],
}

function build(node, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value)
    else if (name === 'value') node.value = value
    else if (name === 'testid') node.setAttribute('data-testid', value)
    else node.setAttribute(name, value === true ? '' : value)
  }
  node.append(
    ...children.flat().filter(child => child !== null && child !== undefined && child !== false),
  )
  return node
}

/** h('p', {class: 'x', onclick}, 'text', node): strings become text, never markup. */
export function h(tag, props, ...children) {
  return build(document.createElement(tag), props, children)
}

export function svg(tag, props, ...children) {
  return build(document.createElementNS(SVG, tag), props, children)
}

/** Makes these the children; what stays is not taken out meanwhile, and so keeps the focus. */
export function fill(node, children) {
  const staying = new Set(children)
  for (const child of [...node.childNodes]) if (!staying.has(child)) child.remove()
  children.forEach((child, i) => {
    if (node.childNodes[i] !== child) node.insertBefore(child, node.childNodes[i] ?? null)
  })
}

export function icon(name) {
  const paths = ICONS[name].map(d => svg('path', { d }))
  return svg(
    'svg',
    { class: `icon icon-${name}`, viewBox: '0 0 24 24', 'aria-hidden': 'true' },
    paths,
  )
}

/** A button that shows an icon and says `label` (as tooltip and to a screen reader). */
export function iconButton(name, label, testid, onclick, props = {}) {
  const shared = { type: 'button', class: 'icon-button', title: label, 'aria-label': label }
  return h('button', { ...shared, testid, onclick, ...props }, icon(name))
}

export function button(label, testid, onclick, props = {}) {
  return h('button', { type: 'button', class: 'button', testid, onclick, ...props }, label)
}

/** The second click of a double-click, which must not count as a second decision. */
export function isRepeat(event) {
  return event.detail > 1
}

export function byId(id) {
  return document.getElementById(id)
}

/** Said by a screen reader when it has finished what it is saying. */
export function announce(text) {
  byId('announcer').textContent = text
}

/** Tells the rest of the page what happened; listeners get `detail`. */
export function emit(name, detail) {
  document.dispatchEvent(new CustomEvent(name, { detail }))
}

export function on(name, listener) {
  document.addEventListener(name, event => listener(event.detail))
}

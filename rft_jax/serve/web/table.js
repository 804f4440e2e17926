// A table that scrolls on its own, and the button below a list that goes on.

import { button, h } from './dom.js'

export function table(caption, heads, rows, none = 'None yet.') {
  const head = h(
    'tr',
    {},
    heads.map(name => h('th', { scope: 'col' }, name)),
  )
  const body = rows.length
    ? rows
    : [h('tr', {}, h('td', { colspan: heads.length, class: 'muted' }, none))]
  return h(
    'div',
    { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': caption },
    h('table', {}, h('caption', {}, caption), h('thead', {}, head), h('tbody', {}, body)),
  )
}

/**
 * A list that is fetched page by page. page(cursor) gives {data, next}; draw(rows) what shows all
 * rows so far. The rows that are there stay when it goes on, and so does what is unfolded.
 */
export function paged(testid, page, draw) {
  const element = h('div', { class: 'paged' })
  const rows = []
  const more = async cursor => {
    const { data, next } = await page(cursor)
    rows.push(...data)
    const go = next && button('Show more', `${testid}-more`, click)
    const open = [...element.querySelectorAll('details')].map(details => details.open)
    element.replaceChildren(draw(rows), ...(go ? [go] : []))
    element.querySelectorAll('details').forEach((details, i) => (details.open = open[i] ?? false))
    if (cursor) go?.focus()
    async function click({ target }) {
      target.disabled = true // A double-click is one.
      await more(next).finally(() => (target.disabled = false))
    }
  }
  return { element, filled: more(null) }
}

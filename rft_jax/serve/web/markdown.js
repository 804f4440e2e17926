// A small subset of markdown as elements: paragraphs, lists, headings, code, bold, italic. What the
// text contains only ever becomes text.

import { h } from './dom.js'

const CODE = /(`+)([^`]+?)\1(?!`)/
const BOLD = /\*\*(?=\S)(.+?\S|\S)\*\*/
const STAR = /(?<![\w*])\*(?=[^\s*])([^*]*[^\s*])\*(?![\w*])/
const LINE = /(?<!\w)_(?=[^\s_])([^_]*[^\s_])_(?!\w)/
const INLINE = new RegExp([CODE, BOLD, STAR, LINE].map(({ source }) => source).join('|'))
const LONGEST = 4000 // characters of a line; the search for pairs of marks grows with the square
const BULLET = /^\s{0,3}[-*+]\s+(.*)$/
const NUMBER = /^\s{0,3}(\d{1,4})[.)]\s+(.*)$/
const HEADING = /^(#{1,4})\s+(.+)$/
const FENCE = /^\s{0,3}```\s*([\w+#.-]*)\s*$/

function inline(text) {
  if (text.length > LONGEST) return [text]
  const nodes = []
  for (let match; (match = INLINE.exec(text)); text = text.slice(match.index + match[0].length)) {
    if (match.index) nodes.push(text.slice(0, match.index))
    if (match[2] !== undefined) nodes.push(h('code', {}, match[2]))
    else if (match[3] !== undefined) nodes.push(h('strong', {}, inline(match[3])))
    else nodes.push(h('em', {}, inline(match[4] ?? match[5])))
  }
  if (text) nodes.push(text)
  return nodes
}

function lines(rows) {
  return rows.flatMap((row, i) => (i ? [h('br'), ...inline(row)] : inline(row)))
}

/** The rows from `start` on that `pattern` matches, and those indented below each of them. */
function items(rows, start, pattern) {
  const found = []
  let i = start
  for (; i < rows.length; i++) {
    const match = pattern.exec(rows[i])
    if (match) found.push([match.at(-1)])
    else if (found.length && /^\s{2,}\S/.test(rows[i])) found.at(-1).push(rows[i].trim())
    else break
  }
  return [found.map(item => h('li', {}, lines(item))), i]
}

function codeBlock(rows, start) {
  const language = FENCE.exec(rows[start])[1]
  let end = start + 1
  while (end < rows.length && !/^\s{0,3}```\s*$/.test(rows[end])) end++
  const code = h('code', {}, rows.slice(start + 1, end).join('\n'))
  const label = language ? `Code, ${language}` : 'Code'
  return [h('pre', { tabindex: 0, role: 'region', 'aria-label': label, dir: 'ltr' }, code), end + 1]
}

function startsBlock(row) {
  return !row.trim() || [BULLET, NUMBER, HEADING, FENCE].some(pattern => pattern.test(row))
}

function block(rows, i) {
  if (FENCE.test(rows[i])) return codeBlock(rows, i)
  for (const [pattern, tag] of [
    [BULLET, 'ul'],
    [NUMBER, 'ol'],
  ]) {
    const match = pattern.exec(rows[i])
    if (!match) continue
    const [children, end] = items(rows, i, pattern)
    return [
      h(tag, { dir: 'auto', start: tag === 'ol' && match[1] !== '1' && match[1] }, children),
      end,
    ]
  }
  const heading = HEADING.exec(rows[i])
  if (heading) return [h('h4', { dir: 'auto' }, inline(heading[2])), i + 1]
  let end = i + 1
  while (end < rows.length && !startsBlock(rows[end])) end++
  return [h('p', { dir: 'auto' }, lines(rows.slice(i, end))), end]
}

/** The blocks of a text, as elements to put into a container. */
export function markdown(text) {
  const rows = text.split('\n')
  const blocks = []
  for (let i = 0; i < rows.length;) {
    if (!rows[i].trim()) {
      i++
      continue
    }
    const [element, next] = block(rows, i)
    blocks.push(element)
    i = next
  }
  return blocks
}

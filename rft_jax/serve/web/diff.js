// What is new in a text: its words, marked where the other text does not have them.

import { h } from './dom.js'

const LIMIT = 600 // words; the table below grows with the square

function words(text) {
  return text.match(/\s+|[\p{L}\p{N}]+|[^\s\p{L}\p{N}]/gu) ?? []
}

/** Whether two texts differ in nothing but space. */
export function sameWords(a, b) {
  return a.split(/\s+/).join(' ').trim() === b.split(/\s+/).join(' ').trim()
}

/** Lengths of the longest common subsequences of all pairs of tails. */
function common(a, b) {
  const table = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1))
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      table[i][j] =
        a[i] === b[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1])
    }
  }
  return table
}

/** For every word of `b`: is it new? */
function news(a, b) {
  if (a.length > LIMIT || b.length > LIMIT) return b.map(() => false)
  const table = common(a, b)
  const found = []
  for (let i = 0, j = 0; j < b.length;) {
    if (i < a.length && a[i] === b[j]) {
      found.push(false)
      i++
      j++
    } else if (i < a.length && table[i + 1][j] >= table[i][j + 1]) i++
    else {
      found.push(true)
      j++
    }
  }
  return found
}

function textNodes(element) {
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT)
  const nodes = []
  while (walker.nextNode()) nodes.push(walker.currentNode)
  return nodes
}

/** Runs of new words become marks; a space joins one only between two new words. */
function pieces(tokens, isNew) {
  const found = []
  let open = null
  tokens.forEach((word, i) => {
    const inside = word.trim() ? isNew[i] : open && isNew[i + 1]
    if (!inside) found.push(word)
    else if (open) open.append(word)
    else found.push((open = h('mark', {}, word)))
    if (!inside) open = null
  })
  return found
}

/** Marks in `after` the words that the element `before` does not have. */
export function markNews(before, after) {
  const nodes = textNodes(after).map(node => [node, words(node.data)])
  const old = textNodes(before).flatMap(node => words(node.data))
  const isNew = news(
    old,
    nodes.flatMap(([, tokens]) => tokens),
  )
  for (const [node, tokens] of nodes)
    node.replaceWith(...pieces(tokens, isNew.splice(0, tokens.length)))
}

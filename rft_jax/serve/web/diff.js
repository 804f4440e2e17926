// What is new in a text: its words, marked where the other text does not have them.

import { h } from './dom.js'

const LIMIT = 600 // words; the table below grows with the square

function words(text) {
  return text.match(/\s+|[\p{L}\p{N}]+|[^\s\p{L}\p{N}]/gu) ?? []
}

/** Lengths of the longest common subsequences of all pairs of tails. */
function common(a, b) {
  const table = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1))
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      table[i][j] = a[i] === b[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1])
    }
  }
  return table
}

/** The words of `after` as [word, whether it is new]. */
function compared(before, after) {
  const [a, b] = [words(before), words(after)]
  if (a.length > LIMIT || b.length > LIMIT) return b.map(word => [word, false])
  const table = common(a, b)
  const found = []
  for (let i = 0, j = 0; j < b.length; ) {
    if (i < a.length && a[i] === b[j]) {
      found.push([b[j], false])
      i++
      j++
    } else if (i < a.length && table[i + 1][j] >= table[i][j + 1]) i++
    else found.push([b[j++], true])
  }
  return found
}

/** `after` as text nodes and marks; runs of new words share a mark. */
export function marked(before, after) {
  const nodes = []
  let open = null
  for (const [word, isNew] of compared(before, after)) {
    if (isNew && open) open.append(word)
    else if (isNew) nodes.push((open = h('mark', {}, word)))
    else {
      open = null
      nodes.push(word)
    }
  }
  return nodes
}

// Copying a text, also where the page came over plain http: the clipboard proper is not there then.

import { h } from './dom.js'

function copySelected(text) {
  const area = h('textarea', { class: 'hidden', readonly: true, value: text })
  const focused = document.activeElement
  document.body.append(area)
  area.select()
  const done = document.execCommand('copy')
  area.remove()
  focused?.focus()
  return done
}

/** Whether it worked. */
export async function copyText(text) {
  try {
    if (!navigator.clipboard) return copySelected(text)
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    return false // Denied by the browser.
  }
}

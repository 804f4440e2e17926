// What happens in one tab is told to the visitor's other tabs, which then look at the server anew.

import { emit } from './dom.js'

const PAUSE = 150 // ms in which several pieces of news become one look

let channel = null
let timer = 0
let missed = false

function look() {
  missed = document.hidden // A tab that nobody sees looks when it is seen.
  if (!missed) emit('rft:elsewhere')
}

/** Tabs of other users of this browser (with a key, say) hear nothing. */
export function openTabs(userId) {
  channel = new BroadcastChannel(`rft.${userId}`)
  channel.addEventListener('message', ({ data }) => {
    if (data) emit('rft:told', data)
    clearTimeout(timer)
    timer = setTimeout(look, PAUSE)
  })
  addEventListener('visibilitychange', () => missed && look())
}

/** Something has changed that other tabs may show; `receipt`: what has become of a vote. */
export function tellTabs(receipt) {
  channel?.postMessage(receipt)
}

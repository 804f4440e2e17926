// A modal dialog for what must be confirmed or written; the browser's own, so that focus and Escape
// are right.

import { button, h } from './dom.js'

/** Resolves with the form of `fields` when it is confirmed, or null. `action` names that button. */
export function modal({ title, text, action, danger, fields = [] }) {
  return new Promise(resolve => {
    const kind = danger ? 'danger' : 'primary'
    const confirm = h('button', { class: `button ${kind}`, testid: 'dialog-confirm' }, action)
    const cancel = button('Cancel', 'dialog-cancel', () => dialog.close())
    const submit = event => {
      event.preventDefault()
      resolve(form)
      dialog.close()
    }
    const form = h(
      'form',
      { onsubmit: submit },
      h('h2', { id: 'dialog-title' }, title),
      text && h('p', {}, text),
      fields,
      h('div', { class: 'actions' }, confirm, cancel),
    )
    const close = () => {
      resolve(null)
      dialog.remove()
    }
    const dialog = h(
      'dialog',
      { 'aria-labelledby': 'dialog-title', testid: 'dialog', onclose: close },
      form,
    )
    document.body.append(dialog)
    dialog.showModal()
    ;(form.querySelector('input, select') ?? confirm).focus()
  })
}

/**
 * Resolves with the text of the field ('' where there is none), or null when cancelled.
 * field: {label, type, required}.
 */
export async function ask({ field, ...question }) {
  const input =
    field &&
    h('input', {
      class: 'field',
      testid: 'dialog-field',
      id: 'dialog-field',
      dir: 'auto',
      type: field.type ?? 'text',
      required: field.required,
      autocomplete: 'off',
    })
  const label = field && h('label', { for: 'dialog-field' }, field.label)
  const form = await modal({ ...question, fields: field ? [label, input] : [] })
  return form && (input ? input.value.trim() : '')
}

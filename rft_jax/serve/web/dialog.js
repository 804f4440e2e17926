// A modal dialog for what must be confirmed or written; the browser's own, so that focus and Escape
// are right.

import { button, h } from './dom.js'

/**
 * Resolves with the text of the field ('' where there is none), or null when cancelled.
 * field: {label, type, required}; `action` names the button that goes on.
 */
export function ask({ title, text, action, danger, field }) {
  return new Promise(resolve => {
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
    const confirm = h(
      'button',
      { class: `button ${danger ? 'danger' : 'primary'}`, testid: 'dialog-confirm' },
      action,
    )
    const cancel = button('Cancel', 'dialog-cancel', () => dialog.close())
    const submit = event => {
      event.preventDefault()
      resolve(input ? input.value.trim() : '')
      dialog.close()
    }
    const form = h(
      'form',
      { onsubmit: submit },
      h('h2', { id: 'dialog-title' }, title),
      text && h('p', {}, text),
      label,
      input,
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
    ;(input ?? confirm).focus()
  })
}

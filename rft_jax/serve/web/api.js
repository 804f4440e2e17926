// The server: JSON calls, server-sent events read with fetch (EventSource cannot POST), and ids.

// What the server says about some failures, in words for visitors.
const WORDS = {
  context_length_exceeded: 'This message is too long for me. Please make it shorter.',
  missing_key: 'The server does not know this browser any more. Please reload the page.',
  too_many_running: 'Other answers of yours are still being written. Please wait for them.',
  rate_limit: 'That was a lot at once. Please wait a little and try again.',
  queue_full: 'Many people are asking right now. Please try again in a moment.',
  not_ready: 'The model is still starting. Please try again in a moment.',
  starting: 'The model is still starting. Please try again in a moment.',
  store_unavailable: 'Nothing could be saved just now. Please try again in a moment.',
  history_mismatch: 'This conversation has changed meanwhile. Please reload the page.',
  feedback_token: 'The server knows this browser by another name now. Please reload the page.',
  stopping: 'The server is being restarted. Please try again in a minute.',
}

const KEY = /^[\x21-\x7e]+$/ // what a header can hold
let key = sessionStorage.getItem('rft.key')

/** `status` is 0 when the server was not reached; `wait` is Retry-After in seconds. */
export class ApiError extends Error {
  constructor(message, status = 0, wait = 0, code = null) {
    super(WORDS[code] ?? message)
    this.status = status
    this.wait = wait
    this.code = code
  }

  /** Whether the same request may succeed later. */
  get passing() {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500
  }
}

/** An API key instead of the cookie, for this tab only; '' goes back to the cookie. */
export function useKey(value) {
  key = value
  sessionStorage.setItem('rft.key', value)
}

async function failure(response) {
  let error = { message: `The server answered ${response.status}.` }
  try {
    error = (await response.json()).error ?? error
  } catch {
    // Not an envelope: a proxy's page, or nothing. The status says what there is to say.
  }
  const wait = Number(response.headers.get('Retry-After')) || 0
  return new ApiError(error.message, response.status, wait, error.code ?? error.param)
}

/** JSON without what the server refuses in a text: NUL and halves of letters. */
function serialised(body) {
  const clean = (_, value) =>
    typeof value === 'string' ? value.toWellFormed().replaceAll('\0', '') : value
  return body && JSON.stringify(body, clean)
}

/** Sends a request and returns the Response; throws ApiError, or AbortError when `signal` fired. */
export async function request(method, path, body, signal) {
  if (key && !KEY.test(key)) throw new ApiError('This is no key: it has spaces or odd letters.', 401)
  const headers = {
    ...(body && { 'Content-Type': 'application/json' }),
    ...(key && { Authorization: `Bearer ${key}` }),
  }
  let response
  try {
    response = await fetch(path, { method, headers, signal, body: serialised(body) })
  } catch (error) {
    if (error.name === 'AbortError') throw error
    throw new ApiError('The server cannot be reached. Are you offline?')
  }
  if (!response.ok) throw await failure(response)
  return response
}

export async function call(method, path, body) {
  const response = await request(method, path, body)
  const text = await response.text()
  return text ? JSON.parse(text) : {}
}

/** The `data` of every event of a stream, as text, however its bytes are cut. */
export async function* serverEvents(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ''
  try {
    for (;;) {
      const { value, done } = await reader.read()
      if (done) return
      const events = (rest + value).replace(/\r\n/g, '\n').split('\n\n')
      rest = events.pop()
      for (const event of events) {
        const data = event.split('\n').filter(line => line.startsWith('data:'))
        if (data.length) yield data.map(line => line.slice(5).trimStart()).join('\n')
      }
    }
  } finally {
    reader.cancel().catch(() => {}) // A stream that has failed has nothing left to cancel.
  }
}

/** Yields {rft} once it is known and {text} for every piece; throws ApiError if it breaks off. */
export async function* complete(body, signal) {
  const response = await request('POST', '/v1/chat/completions', { ...body, stream: true }, signal)
  try {
    for await (const data of serverEvents(response)) {
      if (data === '[DONE]') return
      const chunk = JSON.parse(data)
      if (chunk.error) throw new ApiError(chunk.error.message, 500, 0, chunk.error.code)
      if (chunk.rft) yield { rft: chunk.rft }
      const text = chunk.choices?.[0]?.delta?.content
      if (text) yield { text }
    }
  } catch (error) {
    if (error.name === 'AbortError' || error instanceof ApiError) throw error
    throw new ApiError('The connection was lost before the answer was complete.')
  }
  throw new ApiError('The answer broke off before it was complete.')
}

let last = 0
let tick = 0

/** From now on ids sort after this one, whatever the clock says. */
export function sortAfter(id) {
  last = Math.max(last, parseInt(id.slice(0, 8) + id.slice(9, 13), 16) + 1)
}

/** A UUIDv7; ids made by one page sort in the order they were made. */
export function uuid7() {
  const now = Date.now()
  tick = now > last ? 0 : tick + 1
  last = Math.max(now, last + (tick >> 12))
  tick &= 0xfff
  const bytes = crypto.getRandomValues(new Uint8Array(8))
  bytes[0] = (bytes[0] & 0x3f) | 0x80
  const hex = Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('')
  const time = last.toString(16).padStart(12, '0')
  const middle = `7${tick.toString(16).padStart(3, '0')}`
  return `${time.slice(0, 8)}-${time.slice(8)}-${middle}-${hex.slice(0, 4)}-${hex.slice(4)}`
}

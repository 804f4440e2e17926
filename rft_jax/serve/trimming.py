"""A conversation that has outgrown the model: its oldest turns are left out of the prompt."""

import dataclasses

from rft_jax.engine.protocol import ChatMessage, EngineError, Request

TOO_LONG = 'context_length_exceeded'


def shorter(request: Request, error: EngineError) -> Request | None:
  """The request without its oldest exchanges, after the engine refused it; None where that is not
  why, or nothing is left to go. With the question alone, any room for an answer will do."""
  if error.code != TOO_LONG or not request.messages:
    return None
  kept = recent(request.messages, error.fits)
  if len(kept) < len(request.messages):
    return dataclasses.replace(request, messages=kept)
  return dataclasses.replace(request, spare=1) if request.spare > 1 else None


def recent(messages: tuple[ChatMessage, ...], share: float) -> tuple[ChatMessage, ...]:
  """What the system said, and the last exchanges: at least one fewer, and as many fewer as it takes
  to keep no more than `share` of the letters. The last message always stays."""
  system = tuple(m for m in messages if m.role == 'system')
  turns = [m for m in messages if m.role != 'system']
  room = share * sum(len(m.content) for m in messages) - sum(len(m.content) for m in system)
  starts = [i for i, m in enumerate(turns) if i and m.role == 'user']
  fit = (i for i in starts if sum(len(m.content) for m in turns[i:]) <= room)
  first = next(fit, starts[-1] if starts else 0)
  return (*system, *turns[first:])

"""The last thing that a run prints: what it changed, and how that reads."""


def table(facts: dict, workdir: str) -> str:
  """Before and after of every metric that has both, then sample answers of the same held-out
  problems."""
  names = sorted(
    k.removesuffix('/before')
    for k in facts
    if k.endswith('/before') and not k.startswith('samples')
  )
  lines = ['', f'{"":28}{"before":>10}{"after":>10}']
  for name in names:
    before, after = facts[f'{name}/before'], facts.get(f'{name}/after')
    lines.append(f'{name:28}{_number(before):>10}{_number(after):>10}')
  lines.append('')
  for old, new in zip(
    facts.get('samples/before', ()), facts.get('samples/after', ()), strict=False
  ):
    lines.append(f'{_line(old["prompt"])}')
    lines += [
      f'  {when} {"right" if s["reward"] >= 1 else "wrong"}  {_line(s["completion"])}'
      for when, s in (('before', old), ('after ', new))
    ]
  lines += [
    '',
    f'first update {facts["time/first_update_s"]:.1f} s, all in {facts["time/total_s"]:.1f} s '
    f'{facts["throughput/completion_tokens_per_s"]:.0f} completion tokens/s; more in {workdir}',
  ]
  return '\n'.join(lines)


def _number(x):
  return '' if x is None else f'{x:.3f}'


def _line(text, limit=70):
  text = ' '.join(text.split())
  return text if len(text) <= limit else text[: limit - 3] + '...'

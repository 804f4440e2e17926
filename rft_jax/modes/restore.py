"""Restore: copies of the store of a server that does not run.

--config.mode=restore                                    lists them
--config.mode=restore --config.restore.verify=latest     proves that one is sound
--config.mode=restore --config.restore.copy=NAME         puts one back in the store's place
"""

from pathlib import Path

from rft_jax.registry import UserError
from rft_jax.serve import restoring


def run(config, workdir: str, started: float) -> dict:
  """Works on workdir/serve. Raises UserError while a server runs there, for unknown names and for a
  copy that is damaged."""
  c, folder = config.restore, Path(workdir) / 'serve'
  if not folder.is_dir():
    raise UserError(f'no server has run in {workdir}: name its --workdir')
  if c.copy:
    return put_back(folder, c.copy)
  if c.verify:
    path = restoring.named(folder, c.verify)
    counts = restoring.verify(folder, path)
    print(f'{path.name} is sound: {restoring.as_text(counts)}')
    return counts
  return listed(folder)


def put_back(folder: Path, name: str) -> dict:
  path = restoring.named(folder, name)
  done = restoring.put_back(folder, path)
  print(f'{path.name} is the store now: {restoring.as_text(done.counts)}')
  if done.aside:
    print(f'the store before is {done.aside}: remove it once nothing of it is needed')
  for what in ('erased', 'revoked'):
    if ids := getattr(done, what):
      print(f'{what} since that copy, and again now: {", ".join(ids)}')
  return done.counts


def listed(folder: Path) -> dict:
  found = restoring.found(folder)
  for copy in found:
    print(restoring.described(copy))
  if not found:
    print(f'no copies in {folder / "backups"}: a server makes one a day')
  return dict(copies=len(found))

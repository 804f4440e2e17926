"""Keys: API keys of a server that does not run. While it runs, POST /admin/keys makes them.

--config.mode=keys                                                         lists them
--config.mode=keys --config.key.name=me --config.key.scopes=chat,feedback,admin   makes one
--config.mode=keys --config.key.revoke=ID                                 ends one
"""

import os
from pathlib import Path

from rft_jax.feedback.store import Store
from rft_jax.registry import ConfigError, nearest
from rft_jax.serve.keys import grant
from rft_jax.serve.restoring import check_present


def run(config, workdir: str, started: float) -> dict:
  """Works on workdir/serve/store.db; prints the keys, or the one that was made, which is shown
  only now.

  Raises UserError while a server has the store, for unknown scopes and for an unknown id.
  """
  c, folder = config.key, os.path.join(workdir, 'serve')
  os.makedirs(folder, exist_ok=True)
  check_present(Path(folder))
  store = Store(os.path.join(folder, 'store.db'))
  try:
    if c.revoke:
      return revoke(store, c.revoke)
    if c.name:
      scopes = tuple(c.scopes.replace(',', ' ').split())
      if not scopes:
        raise ConfigError('key.scopes is empty: name some of chat, feedback, admin')
      key = grant(store, c.name, scopes, c.staff)
      print(key)
      return dict(key=key)
    return listed(store)
  finally:
    store.close()


def revoke(store: Store, key_id: str) -> dict:
  known = [key.id for key in store.users.keys()]
  if key_id not in known:
    raise ConfigError(f'key.revoke={key_id!r}: {nearest(key_id, known)}')
  store.users.revoke_key(key_id, 'mode keys').result()
  print(f'{key_id} is revoked')
  return dict(revoked=key_id)


def listed(store: Store) -> dict:
  keys = store.users.keys()
  for key in keys:
    user = store.users.get(key.user_id)
    state = 'revoked' if key.revoked_us else 'valid'
    print(f'{key.id}  {state:8}{user.display if user else "":16}{key.scopes}')
  if not keys:
    print('no keys: name one by key.name')
  return dict(keys=len(keys))

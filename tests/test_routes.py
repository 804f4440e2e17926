"""Who is answered by which versions."""

import pytest

from rft_jax.engine.protocol import EngineError
from rft_jax.engine.routes import Routes
from rft_jax.feedback.records import GLOBAL

USERS = [str(i) for i in range(2000)]
LIVE = Routes({GLOBAL: 4, 'u:7': 2})


def share(routes: Routes, version: int) -> set[str]:
  return {user for user in USERS if routes.versions(user)[0] == version}


def test_a_user_gets_the_live_version_and_their_own():
  assert LIVE.versions('7') == (4, 2) and LIVE.versions('8') == (4, 0)
  assert LIVE.versions(None) == (4, 0) and Routes().versions('7') == (0, 0)


def test_a_trial_reaches_its_share_and_a_larger_one_the_same_users_and_more():
  few, half, all = (Routes({GLOBAL: 4}, (5, part)) for part in (0.1, 0.5, 1.0))
  assert 0.07 < len(share(few, 5)) / len(USERS) < 0.13
  assert share(few, 5) < share(half, 5) < share(all, 5) == set(USERS)
  assert share(half, 4) == set(USERS) - share(half, 5)
  assert share(Routes({}, (6, 0.5)), 6) != share(half, 5)
  assert all.versions(None) == (4, 0)


def test_those_held_out_have_no_adapter_whatever_is_on_trial():
  routes = Routes({GLOBAL: 4, **{f'u:{user}': 1 for user in USERS}}, (5, 0.5), holdout=0.05)
  out = {user for user in USERS if routes.versions(user) == (0, 0)}
  assert 0.03 < len(out) / len(USERS) < 0.07
  assert len(share(routes, 5)) / (len(USERS) - len(out)) == pytest.approx(0.5, abs=0.05)


def test_a_version_can_be_pinned_while_it_is_known():
  routes = LIVE.published(GLOBAL, 5)
  assert routes.global_versions() == [4, 5]
  assert routes.asked('7', 4) == (4, 2) and routes.asked('7', 0) == (0, 0)
  assert routes.asked(None, 4) == (4, 0) and routes.asked('7', None) == (5, 2)
  with pytest.raises(EngineError) as gone:
    routes.asked('7', 3)
  assert gone.value.status == 404


def test_publishing_what_was_on_trial_ends_the_trial_and_zero_ends_a_version():
  trial = Routes({GLOBAL: 4}, (5, 0.1))
  assert trial.published(GLOBAL, 5).canary is None and trial.published('u:1', 5).canary
  assert LIVE.published('u:7', 0).versions('7') == (4, 0)
  assert LIVE.versions('7') == (4, 2)

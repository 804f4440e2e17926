"""The nouns: every pytree that crosses a module boundary.

Axis letters used in annotations and docstrings: `B` prompts, `G` samples per prompt, `N = B * G`
sequences, `P` prompt length, `T` prompt + response, `V` vocabulary, `D` width, `L` layers, `H`
heads, `K` kv heads, `C` head width.

Alignment rule: a per-token array has the shape of `tokens`, and `x[n, t]` describes `tokens[n, t]`.
The shift by one token between a model's output and the token that it predicts happens in
`models.transformer` only.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from flax import struct

Array = Any
"""An array of JAX or NumPy; docstrings give dtype and shape, as in f32[N,T]."""
PyTree = Any
Total = Callable[[Array], Array]
"""Sums an array over everything: all its entries and, where a batch is split, all devices."""


class Prompts(struct.PyTreeNode):
  """What is to be answered: tokens i32[B,P] left-padded, valid bool[B,P], ids i32[B], answer (any
  pytree of [B,...]).

  `ids` are the seeds of the samples' noise: sample `g` of prompt `b` draws from `(seed, ids[b], g,
  position)`, so a prompt gets the same answers alone, in any batch, and on any number of devices.
  """

  tokens: Array
  valid: Array
  ids: Array
  answer: PyTree = None


class Experience(struct.PyTreeNode):
  """What happened: recorded facts, never recomputed. Rows come in blocks of `group` that share
  their first `prefix` columns.

  tokens i32[N,T]; valid bool[N,T]: attended; target bool[N,T]: produced by the policy, the only
  places that losses see; behaviour_logp f32[N,T]: log-probability under the distribution that was
  sampled; rewards f32[N,T]; version i32[N,T]: the training step whose weights produced the token.
  `group` and `prefix` are static; `group=1, prefix=0` is always right.
  """

  tokens: Array
  valid: Array
  target: Array
  behaviour_logp: Array
  rewards: Array
  version: Array
  group: int = struct.field(pytree_node=False, default=1)
  prefix: int = struct.field(pytree_node=False, default=0)


class Targets(struct.PyTreeNode):
  """What is derived from an experience once per iteration and then held fixed, all f32[N,T].

  A field is None where the algorithm has no use for it.
  """

  old_logp: Array | None = None
  ref_logp: Array | None = None
  values: Array | None = None
  advantages: Array | None = None
  returns: Array | None = None


class Batch(struct.PyTreeNode):
  """What a loss sees: the facts, what was derived from them, and each entry's share of the mean
  (sums to 1)."""

  experience: Experience
  targets: Targets = Targets()
  weights: Array | None = None


class TrainState(struct.PyTreeNode):
  """Arrays only: step i32[], params, opt_state, frozen (a dict with 'ref' etc., empty where nothing
  is frozen)."""

  step: Array
  params: PyTree
  opt_state: PyTree
  frozen: dict[str, PyTree]


class Objective(NamedTuple):
  """What is minimised. `steps.make_learn` turns any of them into an update.

  prepare(state, experience, total) -> Batch: whatever stays fixed during the iteration.
  weigh(batch, total) -> Batch: fills `weights`, the denominators of one optimiser step, over all
  devices and micro-batches. loss(params, batch, rng) -> (scalar, metrics): a SUM of weighted terms,
  so that parts of a batch add up to the whole.
  """

  prepare: Callable[[TrainState, Experience, Total], Batch]
  weigh: Callable[[Batch, Total], Batch]
  loss: Callable[[PyTree, Batch, Array], tuple[Array, dict[str, Array]]]


class Example(NamedTuple):
  """One problem: its prompt, what a verifier needs (arrays of numbers for a verifier in JAX, JSON
  for one in Python) and, for supervised training, a response to imitate.
  """

  prompt: str
  answer: Any
  response: str = ''


class Task(NamedTuple):
  """Problems with a verifier, which is a JAX function (`jit_reward`) or a Python function
  (`reward`).

  example(split, index): a pure function of 'train' | 'test' and an index; no problem is in both
  splits. size(split): how many examples there are; None where they never end. jit_reward(tokens
  i32[N,C], target bool[N,C], answer) -> f32[N]; rows' answers are stacked, `[N, ...]`. jit_metrics:
  the same arguments -> dict of f32[N], NaN where a row has nothing to say. reward(completion,
  example) -> float: picklable, called in worker processes.
  """

  example: Callable[[str, int], Example]
  size: Callable[[str], int | None] = lambda split: None
  jit_reward: Callable[[Array, Array, PyTree], Array] | None = None
  jit_metrics: Callable[[Array, Array, PyTree], dict[str, Array]] | None = None
  reward: Callable[[str, Example], float] | None = None

"""The nouns: every pytree that crosses a module boundary.

Axis letters used in annotations and docstrings: `B` prompts, `G` samples per prompt, `N = B * G`
sequences, `P` prompt length, `T` prompt + response, `V` vocabulary, `D` width, `L` layers, `H`
heads, `K` kv heads, `C` head width.

Alignment rule: a per-token array has the shape of `tokens`, and `x[n, t]` describes `tokens[n, t]`.
The shift by one token between a model's output and the token that it predicts happens in
`models.transformer` only.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from flax import struct

Array = Any
"""An array of JAX or NumPy; docstrings give dtype and shape, as in f32[N,T]."""
PyTree = Any


class Total(Protocol):
  """Sees past the edge of a device. `total(x)` -> f32[], the sum of all entries of x on all
  devices; `gather(tree)`: all devices' rows; `own(tree)`: of gathered rows this device's.
  """

  def __call__(self, x: Array) -> Array: ...
  def gather(self, tree: PyTree) -> PyTree: ...
  def own(self, tree: PyTree) -> PyTree: ...


class Prompts(struct.PyTreeNode):
  """What is to be answered: tokens i32[B,P] left-padded, valid bool[B,P], ids i32[B], answer (any
  pytree of [B,...]); adapters f32[B,A]: how much of each low-rank adapter, None for the first.

  `ids` are the seeds of the samples' noise: sample `g` of prompt `b` draws from `(seed, ids[b], g,
  position)`, so a prompt gets the same answers alone, in any batch, and on any number of devices.
  """

  tokens: Array
  valid: Array
  ids: Array
  answer: PyTree = None
  adapters: Array = None


class Experience(struct.PyTreeNode):
  """What happened: recorded facts, never recomputed. Rows come in blocks of `group` that share
  their first `prefix` columns.

  tokens i32[N,T]; valid bool[N,T]: attended (or i32: the number of the packed text, from 1 on, that
  a token belongs to); target bool[N,T]: produced by the policy, the only places that losses see;
  behaviour_logp f32[N,T]: log-probability under the distribution that was sampled; rewards
  f32[N,T]; version i32[N,T]: the training step whose weights produced the token; facts: what else
  is known of a row, by name, each [N,...] (see FACTS). `group` and `prefix` are static;
  `group=1, prefix=0` is always right.
  """

  tokens: Array
  valid: Array
  target: Array
  behaviour_logp: Array
  rewards: Array
  version: Array
  facts: dict[str, Array] = struct.field(default_factory=dict)
  group: int = struct.field(pytree_node=False, default=1)
  prefix: int = struct.field(pytree_node=False, default=0)


FACTS = dict(
  adapters='f32[N,A]: how much of each low-rank adapter the row takes, and trains',
  truncated='bool[N]: ended by the limit, not by a stop token; recorded by the sampler',
  baseline='f32[N]: the reward of the greedy answer to the same prompt (ReMax)',
  answer='i32[N]: what the completion answers, -1 for nothing; equal numbers are equal answers',
  parts='f32[N,K]: the rewards that add up to the reward of the row (GDPO)',
  run='i32[N]: which attempt at the task a turn belongs to (multi-turn)',
  turn='i32[N]: its number within the attempt, from 0 on',
  anchor='i32[N]: the state that the turn started from; equal numbers are equal states (GiGPO)',
)
"""What an experience may record of its rows besides tokens."""


class Scores(NamedTuple):
  """What a model says of the tokens of an experience, f32[N,T] each and zero on the shared prefix;
  None where not asked for.

  logp: of the token; values: of the value head; entropy: of the distribution, in nats; certainty:
  logsumexp z - mean z of its logits (KL from uniform + log V); collision: sum of p squared; drift:
  sum of p^2 (entropy + log p), the expected change of entropy (CLIP-V).
  """

  logp: Array
  values: Array = None
  entropy: Array = None
  certainty: Array = None
  collision: Array = None
  drift: Array = None


class Targets(struct.PyTreeNode):
  """What is held fixed while an iteration learns; a field is None where the algorithm does not need
  it.

  mask bool[N,T]: the tokens that losses see, `target` less what a filter dropped. f32[N,T]:
  advantages; returns; old_logp, values: of the policy when the iteration began; ref_logp,
  teacher_logp: of the models of these names; correction: weight of a token for having been sampled
  by another policy. old: what else `Scores` has, when the iteration began. score f32[N]: the reward
  of a row. shift f32[N]: what an unpaired preference loss takes off the log-ratio.
  """

  mask: Array
  advantages: Array = None
  returns: Array = None
  old_logp: Array = None
  values: Array = None
  ref_logp: Array = None
  teacher_logp: Array = None
  correction: Array = None
  old: Any = None
  score: Array = None
  shift: Array = None


class Batch(struct.PyTreeNode):
  """What a loss sees: facts, what was derived from them, and, per term of the loss, each entry's
  share of the mean. watched: f32[N] by name, whose means over the rows are reported."""

  experience: Experience
  targets: Targets
  weights: dict[str, Array] = struct.field(default_factory=dict)
  watched: dict[str, Array] = struct.field(default_factory=dict)


class TrainState(struct.PyTreeNode):
  """Arrays only: step i32[], params (what is trained), opt_state; frozen: what is not, by name:
  'base', the rest of the model that is trained; the models 'ref', which lacks what it shares with
  the base, 'teacher' and 'reward'; tuned: coefficients that adapt to what they see, by name.
  """

  step: Array
  params: PyTree
  opt_state: PyTree
  frozen: dict[str, PyTree] = struct.field(default_factory=dict)
  tuned: dict[str, Array] = struct.field(default_factory=dict)

  @property
  def weights(self) -> PyTree:
    """All parameters of the model that is trained."""
    return self.whole(self.params)

  @property
  def reference(self) -> PyTree:
    """All parameters of the reference model."""
    return self.whole(self.frozen['ref'])

  def whole(self, params: PyTree) -> PyTree:
    return self.frozen.get('base', {}) | params

  def bare(self) -> 'TrainState':
    """Without the base, which a checkpoint need not hold: it does not change."""
    return self.replace(frozen={k: v for k, v in self.frozen.items() if k != 'base'})

  def on(self, base: PyTree) -> 'TrainState':
    """With the base that `bare` took off."""
    return self.replace(frozen=self.frozen | ({'base': base} if base else {}))


class Objective(NamedTuple):
  """What is minimised. `steps.make_learn` turns any of them into an update.

  prepare(state, experience, total) -> Batch: whatever stays fixed during the iteration.
  weigh(state, batch, total) -> Batch: fills `weights`, the denominators of one optimiser step,
  over all devices and micro-batches. loss(params, state, batch, rng) -> (scalar, metrics): a SUM of
  weighted terms, so that parts of a batch add up to the whole; `state` is read for what is not
  trained. adapt(state, metrics, sequences) -> state, after each iteration of so many sequences.
  tuned: what `state.tuned` begins with. Where a loss has several parts with data of their own,
  experience and Batch are tuples.
  """

  prepare: Callable[[TrainState, PyTree, Total], PyTree]
  weigh: Callable[[TrainState, PyTree, Total], PyTree]
  loss: Callable[[PyTree, TrainState, PyTree, Array], tuple[Array, dict[str, Array]]]
  adapt: Callable[..., TrainState] = lambda state, metrics, sequences: state
  tuned: dict[str, float] = {}


class Example(NamedTuple):
  """One problem: its prompt, what a verifier needs (arrays of numbers for a verifier in JAX, JSON
  for one in Python), a response to imitate, and one that is worse, for learning from preferences.

  messages: the prompt as a conversation of {'role', 'content'} for the tokenizer's chat template;
  `prompt` is then only its text. Imitation also learns the assistant's turns in it. place: where
  the example was read, for messages about it.
  """

  prompt: str
  answer: Any
  response: str = ''
  rejected: str = ''
  messages: tuple[dict[str, str], ...] = ()
  place: str = ''


class Outcome(NamedTuple):
  """What an environment answers: the next prompt tokens i32[N,P], valid bool[N,P]; reward f32[N] of
  the turn; done bool[N]; answer: the state from here on, a pytree of [N,...]."""

  tokens: Array
  valid: Array
  reward: Array
  done: Array
  answer: PyTree


class Environment(NamedTuple):
  """A task in several turns, in JAX. step(tokens i32[N,C], target bool[N,C], answer) -> Outcome;
  anchor(answer) -> i32[N], the number of the state; at most `turns` answers."""

  turns: int
  step: Callable[[Array, Array, PyTree], Outcome]
  anchor: Callable[[PyTree], Array]


class Task(NamedTuple):
  """Problems with a verifier, which is a JAX function (`jit_reward`) or a Python function
  (`reward`).

  example(split, index): a pure function of 'train' | 'test' and an index; no problem is in both
  splits. size(split): how many examples there are; None where they never end. jit_reward(tokens
  i32[N,C], target bool[N,C], answer) -> f32[N]; rows' answers are stacked, `[N, ...]`. jit_metrics:
  the same arguments -> dict of f32[N], NaN where a row has nothing to say. jit_answer(tokens,
  target) -> i32[N]: what is answered, -1 for nothing. environment: instead, where answers come in
  turns. reward(completion, example) -> float and answer(completion) -> str: picklable, called in
  worker processes. skipped(): how many rows of the training data were bad and left out so far.
  fitting(encode by split) -> the task without the rows that a partial encode(example) refuses by
  ConfigError, or this error. fingerprint: what tells by name whether the data are the same as at
  another time.
  ahead(split, indices): these examples will be asked for soon, in this order.
  """

  example: Callable[[str, int], Example]
  size: Callable[[str], int | None] = lambda split: None
  jit_reward: Callable[[Array, Array, PyTree], Array] | None = None
  jit_metrics: Callable[[Array, Array, PyTree], dict[str, Array]] | None = None
  reward: Callable[[str, Example], float] | None = None
  answer: Callable[[str], str] | None = None
  jit_answer: Callable[[Array, Array], Array] | None = None
  environment: Environment | None = None
  skipped: Callable[[], int] | None = None
  fitting: Callable[[dict[str, Any]], Any] | None = None
  fingerprint: dict[str, str] = {}
  ahead: Callable[[str, list[int]], None] | None = None

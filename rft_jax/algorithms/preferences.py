"""Losses for pairs of answers to one prompt, of which one is better.

A member maps (chosen, rejected), each a `Side`, to f32[M], one loss per pair. beta is the strength
of the tie to the reference. What compares several pairs is registered with needs=['coupled'] and
sees those of a whole optimiser step. Reference-free losses lack needs=['ref_logp'].
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rft_jax.registry import ConfigError, Registry
from rft_jax.types import Array

PAIRED = Registry('preference')
SIGMA, LOGSIG = jax.nn.sigmoid, jax.nn.log_sigmoid


class Side(NamedTuple):
  """One answer of each pair: logp, ref f32[M], sums over its tokens, ref None where there is no
  reference; length f32[M] in tokens; tokens f32[M,T] and mask bool[M,T], the log-probabilities that
  were summed; there bool[M], whether the pair counts."""

  logp: Array
  ref: Array
  length: Array
  tokens: Array
  mask: Array
  there: Array

  @property
  def ratio(self) -> Array:
    """log pi / pi_ref of the answer."""
    return self.logp - self.ref

  @property
  def mean(self) -> Array:
    """log pi per token."""
    return self.logp / jnp.maximum(self.length, 1)


def smoothed(x: Array, eps: float) -> Array:
  """-(1 - eps) log sigma(x) - eps log sigma(-x)."""
  return -(1 - eps) * LOGSIG(x) - eps * LOGSIG(-x)


@PAIRED.register(needs=['ref_logp'])
def sigmoid(
  chosen: Side,
  rejected: Side,
  *,
  beta: float = 0.1,
  label_smoothing: float = 0.0,
  divergence: str = 'reverse_kl',
  alpha: float = 0.5,
  beyond: float = 1.0,
) -> Array:
  """-log sigma(beta (c - r)), c and r the log-ratios. Source: arXiv:2305.18290 (DPO).

  label_smoothing: the share of wrong labels that is expected (cDPO, arXiv:2305.18290). divergence:
  'reverse_kl' | 'forward_kl' | 'js' | 'alpha' replaces c and r (arXiv:2309.16240). beyond: weight
  of the tokens past the length of the shorter answer (LD-DPO, arXiv:2409.06411; the reference's sum
  stays whole).
  """
  forms = dict(
    reverse_kl=lambda z: z,
    forward_kl=lambda z: 1 - jnp.exp(-z),
    js=lambda z: jnp.log(2.0) + LOGSIG(z),
    alpha=lambda z: (jnp.exp(jnp.minimum((alpha - 1) * z, 80)) - 1) / (alpha - 1),
  )
  if divergence not in forms:
    raise ConfigError(f'preference: divergence={divergence!r} must be one of {", ".join(forms)}')
  if beyond != 1:
    common = jnp.minimum(chosen.length, rejected.length)
    chosen, rejected = (_shortened(x, common, beyond) for x in (chosen, rejected))
  form = forms[divergence]
  return smoothed(beta * (form(chosen.ratio) - form(rejected.ratio)), label_smoothing)


@PAIRED.register(needs=['ref_logp'])
def robust(
  chosen: Side, rejected: Side, *, beta: float = 0.1, label_smoothing: float = 0.1
) -> Array:
  """[-(1 - e) log sigma(x) + e log sigma(-x)] / (1 - 2 e), x = beta (c - r): unbiased under labels
  flipped with probability e. Source: arXiv:2403.00409 (rDPO)."""
  x, e = beta * (chosen.ratio - rejected.ratio), label_smoothing
  return (-(1 - e) * LOGSIG(x) + e * LOGSIG(-x)) / (1 - 2 * e)


@PAIRED.register(needs=['ref_logp'])
def hinge(chosen: Side, rejected: Side, *, beta: float = 0.1) -> Array:
  """max(0, 1 - beta (c - r)). Source: arXiv:2305.10425 (SLiC); arXiv:2309.06657 (RSO)."""
  return jax.nn.relu(1 - beta * (chosen.ratio - rejected.ratio))


@PAIRED.register(needs=['ref_logp'])
def ipo(chosen: Side, rejected: Side, *, beta: float = 0.1, average: bool = True) -> Array:
  """(c - r - 1 / (2 beta))^2. Source: arXiv:2310.12036. average: c and r per token, as in
  TRL; the paper sums."""
  c, r = chosen.ratio, rejected.ratio
  if average:
    c, r = c / jnp.maximum(chosen.length, 1), r / jnp.maximum(rejected.length, 1)
  return (c - r - 1 / (2 * beta)) ** 2


@PAIRED.register(needs=['ref_logp'])
def exo_pair(
  chosen: Side, rejected: Side, *, beta: float = 0.1, label_smoothing: float = 1e-3
) -> Array:
  """KL(q || labels) with q = sigma(beta (c - r)), labels smoothed. Source: arXiv:2402.00856."""
  x, e = beta * (chosen.ratio - rejected.ratio), label_smoothing
  return SIGMA(x) * (LOGSIG(x) - jnp.log(1 - e)) + SIGMA(-x) * (LOGSIG(-x) - jnp.log(e))


@PAIRED.register(needs=['ref_logp'])
def nca_pair(chosen: Side, rejected: Side, *, beta: float = 0.1) -> Array:
  """-log sigma(beta c) - log sigma(-beta c) / 2 - log sigma(-beta r) / 2: keeps the likelihood of
  what is chosen. Source: arXiv:2402.05369."""
  c, r = beta * chosen.ratio, beta * rejected.ratio
  return -LOGSIG(c) - 0.5 * LOGSIG(-c) - 0.5 * LOGSIG(-r)


@PAIRED.register(needs=['ref_logp'])
def bco_pair(chosen: Side, rejected: Side, *, beta: float = 0.1) -> Array:
  """-log sigma(beta c) - log sigma(-beta r). Source: arXiv:2404.04656, without its running mean."""
  return -LOGSIG(beta * chosen.ratio) - LOGSIG(-beta * rejected.ratio)


@PAIRED.register(needs=['ref_logp'])
def sppo_hard(chosen: Side, rejected: Side, *, beta: float = 0.1) -> Array:
  """(c - 1 / (2 beta))^2 + (r + 1 / (2 beta))^2. Source: arXiv:2405.00675."""
  return (chosen.ratio - 0.5 / beta) ** 2 + (rejected.ratio + 0.5 / beta) ** 2


@PAIRED.register(needs=['ref_logp', 'coupled'])
def aot(chosen: Side, rejected: Side, *, beta: float = 0.1, label_smoothing: float = 0.0) -> Array:
  """sigmoid on the differences of sorted values, sort(lp_c - lp_r) - sort(ref_c - ref_r): the
  policy's margins dominate the reference's as a distribution. Source: arXiv:2406.05882."""
  margins, others = chosen.logp - rejected.logp, chosen.ref - rejected.ref
  return smoothed(beta * _sorted_gap(margins, others, chosen.there), label_smoothing)


@PAIRED.register(needs=['ref_logp', 'coupled'])
def aot_unpaired(
  chosen: Side, rejected: Side, *, beta: float = 0.1, label_smoothing: float = 0.0
) -> Array:
  """sigmoid on sort(c) - sort(r): needs no two answers to one prompt. Source: arXiv:2406.05882."""
  gap = _sorted_gap(chosen.ratio, rejected.ratio, chosen.there)
  return smoothed(beta * gap, label_smoothing)


@PAIRED.register(needs=['ref_logp'])
def apo_zero(chosen: Side, rejected: Side, *, beta: float = 0.1) -> Array:
  """1 - sigma(beta c) + sigma(beta r): for a policy worse than what is chosen. Source:
  arXiv:2408.06266."""
  return 1 - SIGMA(beta * chosen.ratio) + SIGMA(beta * rejected.ratio)


@PAIRED.register(needs=['ref_logp'])
def apo_down(chosen: Side, rejected: Side, *, beta: float = 0.1) -> Array:
  """sigma(beta c) + 1 - sigma(beta (c - r)): for a policy better than what is chosen. Source:
  arXiv:2408.06266."""
  c, r = beta * chosen.ratio, beta * rejected.ratio
  return SIGMA(c) + 1 - SIGMA(c - r)


@PAIRED.register(needs=['ref_logp'])
def discopop(chosen: Side, rejected: Side, *, beta: float = 0.1, tau: float = 0.05) -> Array:
  """(1 - q)(-log sigma(x)) + q e^-x with x = beta (c - r), q = sigma(x / tau). Source:
  arXiv:2406.08414."""
  x = beta * (chosen.ratio - rejected.ratio)
  q = SIGMA(x / tau)
  return -(1 - q) * LOGSIG(x) + q * jnp.exp(-x)


@PAIRED.register(needs=['ref_logp'])
def sigmoid_norm(chosen: Side, rejected: Side, *, beta: float = 0.1) -> Array:
  """-log sigma(beta (c / n_c - r / n_r)). Source: arXiv:2411.15124 (Tulu 3)."""
  c, r = (x.ratio / jnp.maximum(x.length, 1) for x in (chosen, rejected))
  return -LOGSIG(beta * (c - r))


@PAIRED.register(needs=['ref_logp'])
def dpop(chosen: Side, rejected: Side, *, beta: float = 0.1, lam: float = 1.0) -> Array:
  """-log sigma(beta (c - r - lam max(0, -c))): what is chosen must not become unlikelier. Source:
  arXiv:2402.13228."""
  c, r = chosen.ratio, rejected.ratio
  return -LOGSIG(beta * (c - r - lam * jax.nn.relu(-c)))


@PAIRED.register(needs=['ref_logp'])
def mpo(chosen: Side, rejected: Side, *, losses: dict | None = None) -> Array:
  """A weighted sum of others: losses={'sigmoid(beta=0.1)': 0.8, 'bco_pair': 0.2}, the default.
  Source: arXiv:2411.10442 (its third part is the algorithm's `nll`)."""
  parts = losses or {'sigmoid': 0.8, 'bco_pair': 0.2}
  return sum(
    (weight * PAIRED.lookup(spec)(chosen, rejected) for spec, weight in parts.items()),
    jnp.zeros_like(chosen.logp),
  )


@PAIRED.register()
def cpo(
  chosen: Side,
  rejected: Side,
  *,
  beta: float = 0.1,
  label_smoothing: float = 0.0,
  form: str = 'sigmoid',
) -> Array:
  """DPO without a reference, x = lp_c - lp_r: form 'sigmoid' | 'hinge' | 'ipo'. Source:
  arXiv:2401.08417; use with nll=1."""
  x = chosen.logp - rejected.logp
  forms = dict(
    sigmoid=lambda: smoothed(beta * x, label_smoothing),
    hinge=lambda: jax.nn.relu(1 - beta * x),
    ipo=lambda: (x - 1 / (2 * beta)) ** 2,
  )
  if form not in forms:
    raise ConfigError(f"preference 'cpo': form={form!r} must be one of {', '.join(forms)}")
  return forms[form]()


@PAIRED.register()
def simpo(
  chosen: Side,
  rejected: Side,
  *,
  beta: float = 2.0,
  gamma: float = 0.5,
  label_smoothing: float = 0.0,
) -> Array:
  """-log sigma(beta (l_c - l_r) - gamma), l the log-probability per token. Source:
  arXiv:2405.14734."""
  return smoothed(beta * (chosen.mean - rejected.mean) - gamma, label_smoothing)


@PAIRED.register()
def alphapo(
  chosen: Side, rejected: Side, *, beta: float = 2.0, gamma: float = 0.5, alpha: float = 0.25
) -> Array:
  """simpo with (1 - p^-alpha) / alpha in place of log p, p the geometric mean. Source:
  arXiv:2501.03884."""
  c, r = ((1 - jnp.exp(-alpha * x.mean)) / alpha for x in (chosen, rejected))
  return -LOGSIG(beta * (c - r) - gamma)


@PAIRED.register()
def orpo(chosen: Side, rejected: Side, *, beta: float = 0.1) -> Array:
  """-beta log sigma(log odds_c - log odds_r), odds = p / (1 - p), p the geometric mean. Source:
  arXiv:2403.07691; use with nll=1."""
  c, r = (jnp.minimum(x.mean, -1e-6) for x in (chosen, rejected))
  log1mexp = lambda x: jnp.log1p(-jnp.exp(x))
  return -beta * LOGSIG(c - r - (log1mexp(c) - log1mexp(r)))


def _shortened(side: Side, common: Array, beyond: float) -> Side:
  late = side.mask & (jnp.cumsum(side.mask, 1) > common[:, None])
  tokens = jnp.where(side.mask, side.tokens, 0)
  return side._replace(logp=(tokens * jnp.where(late, beyond, 1)).sum(1))


def _sorted_gap(a: Array, b: Array, there: Array) -> Array:
  """The k-th smallest of a less the k-th smallest of b, where the k-th of a stands; 0 where no pair
  is there."""
  order = jnp.argsort(jnp.where(there, a, jnp.inf))
  partner = jnp.sort(jnp.where(there, b, jnp.inf))
  matched = jnp.zeros_like(b).at[order].set(partner)
  return jnp.where(there, a - jnp.where(there, matched, 0), 0)

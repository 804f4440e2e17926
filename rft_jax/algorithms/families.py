"""The families: for each part of an algorithm the pieces that there are."""

from rft_jax.algorithms.advantages import OUTCOME
from rft_jax.algorithms.aggregators import AGGREGATORS
from rft_jax.algorithms.corrections import CORRECTIONS
from rft_jax.algorithms.coupled_losses import COUPLED
from rft_jax.algorithms.divergences import DISTILLATIONS
from rft_jax.algorithms.entropies import ENTROPIES
from rft_jax.algorithms.episodes import EPISODIC
from rft_jax.algorithms.filters import FILTERS
from rft_jax.algorithms.imitation import IMITATION
from rft_jax.algorithms.kls import KLS
from rft_jax.algorithms.mixtures import MIXTURES
from rft_jax.algorithms.plain_losses import PLAIN
from rft_jax.algorithms.policy_losses import CLIPPED
from rft_jax.algorithms.preferences import PAIRED
from rft_jax.algorithms.rankings import RANKINGS
from rft_jax.algorithms.references import REFERENCES
from rft_jax.algorithms.returns import TOKENWISE
from rft_jax.algorithms.rewards import SHAPING, UNSUPERVISED
from rft_jax.algorithms.unpaired import UNPAIRED
from rft_jax.algorithms.value_losses import VALUE_LOSSES

FAMILIES = dict(
  advantage=OUTCOME.joined(TOKENWISE, EPISODIC),
  policy_loss=CLIPPED.joined(PLAIN, COUPLED, IMITATION),
  kl=KLS,
  aggregator=AGGREGATORS,
  value_loss=VALUE_LOSSES,
  entropy=ENTROPIES,
  correction=CORRECTIONS,
  filter=FILTERS,
  reward=UNSUPERVISED,
  shaping=SHAPING,
  distill=DISTILLATIONS,
  preference=PAIRED.joined(UNPAIRED),
  ranking=RANKINGS,
  reference=REFERENCES,
  expert=IMITATION,
  mix=MIXTURES,
)

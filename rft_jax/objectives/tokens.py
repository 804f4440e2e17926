"""The objective of everything that is learned token by token: reinforcement, imitation,
distillation.

advantage x policy loss x aggregator (x KL x value loss x entropy bonus x distillation), each a
function from its family; a part that an algorithm lacks is neither computed nor kept in memory.
"""

import jax
import jax.numpy as jnp

from rft_jax.algorithms.algorithm import Algorithm
from rft_jax.algorithms.corrections import mismatch
from rft_jax.algorithms.groups import on_last, sequence_rewards
from rft_jax.algorithms.ratios import fixed
from rft_jax.models.policy import Policy
from rft_jax.objectives.coupling import linearised
from rft_jax.types import Batch, Experience, Objective, Scores, Targets


def tokens(policy: Policy, algorithm: Algorithm, temperature: float, teacher: Policy) -> Objective:
  """The objective of an algorithm with a policy loss, a distillation, or both."""
  needs, piece = algorithm.needs, algorithm.piece
  policy_loss, value_loss = piece('policy_loss'), piece('value_loss')
  aggregate, refresh = piece('aggregator'), piece('reference')
  make_penalty, make_bonus, make_distill = piece('kl'), piece('entropy'), piece('distill')
  penalty, bonus = make_penalty and make_penalty(), make_bonus and make_bonus()
  distill = make_distill and make_distill()
  present = needs & {'entropy', 'values'}
  coupled = 'coupled' in needs

  def prepare(state, experience, total):
    e, old = judged(experience), _old(state, experience)
    old_logp = old.logp if old and 'recomputed' in needs else e.behaviour_logp
    t = Targets(e.target, old_logp=old_logp, values=old and old.values, old=old)
    if 'ref_logp' in needs and penalty:
      t = t.replace(ref_logp=policy.score(state.reference, e, temperature).logp)
    if 'teacher_logp' in needs:
      t = t.replace(teacher_logp=teacher.score(state.frozen['teacher'], e, temperature).logp)
    if reward := piece('reward'):
      e = e.replace(rewards=on_last(e, reward(e, old)))
    if shaping := piece('shaping'):
      e = e.replace(rewards=e.rewards + on_last(e, shaping(e)))
    if penalty and penalty.where == 'reward':
      cost = _coef(state, 'kl', penalty.coef) * penalty.estimate(Scores(old_logp), t)
      e = e.replace(rewards=e.rewards - jnp.where(e.target, cost, 0))
    if advantage := piece('advantage'):
      advantages, returns = advantage(e, t, total)
      t = t.replace(advantages=advantages, returns=returns)
    if keep := piece('filter'):
      t = t.replace(mask=e.target & keep(e, t, total))
    if correct := piece('correction'):
      t = t.replace(correction=correct(old_logp, e.behaviour_logp, t.mask))
    learned = {'reward/learned': sequence_rewards(e)} if advantage else {}
    return jax.lax.stop_gradient(Batch(e, _trimmed(t), watched=learned))

  def _old(state, experience):
    wanted = {name[4:] for name in needs if name.startswith('old_')} | (needs & {'values'})
    if wanted - {'logp'} or 'recomputed' in needs:
      return policy.score(state.weights, experience, temperature, wanted)
    return None

  def _trimmed(t: Targets) -> Targets:
    """Without what no loss reads any more."""
    return t.replace(
      old=None,
      teacher_logp=None,
      returns=t.returns if value_loss else None,
      old_logp=t.old_logp if 'old_logp' in needs else None,
    )

  def weigh(state, batch, total):
    t = batch.targets
    weights = dict(token=aggregate(t.mask, total))
    if coupled:
      now = policy.score(state.weights, batch.experience, temperature, present)

      def whole(now, t, weights):
        return weights * jnp.where(t.mask, _policy_term(now, t)[0], 0)

      weights |= linearised(whole, now, (t, weights['token']), total)
    return batch.replace(weights=weights)

  def _policy_term(now: Scores, t: Targets):
    per_token, metrics = policy_loss(now, t)
    if t.correction is not None and 'own_correction' not in needs:
      per_token = per_token * t.correction
    return per_token, metrics

  def loss(params, state, batch, rng):
    e, t, w = batch.experience, batch.targets, batch.weights
    now = policy.score(params, e, temperature, present, rng)
    now = now._replace(logp=jnp.where(t.mask, now.logp, 0))
    metrics, value = {}, jnp.float32(0)

    def mean(x):
      return (w['token'] * jnp.where(t.mask, x, 0)).sum()

    if policy_loss:
      per_token, extra = _policy_term(now, t)
      metrics |= {name: mean(x) for name, x in extra.items()}
      value = mean(per_token)
      if coupled:
        moved = now.logp - fixed(now.logp)
        value = (w['value'] + w['slope'] * jnp.where(t.mask, moved, 0)).sum()
      metrics['loss/policy'] = value
    if penalty:
      metrics['policy/kl'] = mean(penalty.estimate(now, t))
      if penalty.where == 'loss':
        value += _coef(state, 'kl', penalty.coef) * metrics['policy/kl']
    if value_loss:
      metrics['loss/value'] = mean(value_loss(now.values, t.values, t.returns))
      value += metrics['loss/value']
    if bonus:
      metrics['policy/entropy'] = mean(now.entropy)
      value -= _coef(state, 'entropy', bonus.coef) * metrics['policy/entropy']
    if distill:
      model = policy if distill.teacher == 'ref' else teacher
      weights = fixed(state.reference if distill.teacher == 'ref' else state.frozen['teacher'])
      gap = policy.compare(params, model, weights, e, distill.temperature, distill.divergence)
      metrics['loss/distill'] = mean(gap)
      value += distill.coef * metrics['loss/distill']
    if t.correction is not None:
      old_to_sampler = mismatch(t.old_logp, e.behaviour_logp, t.mask)
      metrics |= {name: mean(x) for name, x in old_to_sampler.items()}
    return value, metrics

  def adapt(state, metrics, sequences):
    tuned = dict(state.tuned)
    if penalty and penalty.update:
      tuned['kl'] = penalty.update(tuned['kl'], metrics['policy/kl'], sequences)
    if bonus and bonus.update:
      tuned['entropy'] = bonus.update(tuned['entropy'], metrics['policy/entropy'])
    return refreshed(state.replace(tuned=tuned), refresh)

  tuned = {}
  if penalty and penalty.update:
    tuned['kl'] = penalty.coef
  if bonus and bonus.update:
    tuned['entropy'] = bonus.coef
  return Objective(prepare, weigh, loss, adapt, tuned)


def judged(experience: Experience) -> Experience:
  """Rows whose reward is NaN have no verdict: nothing is learned from them."""
  known = ~jnp.isnan(sequence_rewards(experience))[:, None]
  rewards = jnp.where(known, experience.rewards, 0)
  return experience.replace(target=experience.target & known, rewards=rewards)


def refreshed(state, refresh):
  """The reference model after an iteration."""
  if refresh is None:
    return state
  ref = refresh(state.frozen['ref'], reference_of(state.params), state.step)
  return state.replace(frozen=state.frozen | {'ref': ref})


def reference_of(params):
  """What of a policy's parameters a reference needs: no value head."""
  return {name: params[name] for name in ('decoder', 'adapters') if name in params}


def _coef(state, name, start):
  return state.tuned.get(name, start)

"""Named algorithms as data: which piece of each family. Any piece can be replaced in a config.

`source` is what an iteration learns from: 'samples' of the policy, 'demonstrations', 'text',
'pairs' of a better and a worse answer, 'labels' (answers judged good or bad), 'turns' (samples in
dialogue with an environment), or 'self_play' (demonstrations paired with own samples). `refill`:
rounds of sampling to replace groups of equal rewards. `guard`: what must hold, else a run has
collapsed. `nll`: weight of imitating what a pair prefers.
"""

_PPO = dict(policy_loss='ppo_clip', aggregator='token_mean')
_GRPO = dict(advantage='grpo', kl='k3', **_PPO)
_REC = dict(advantage='rec', aggregator='token_mean')
_PAIRS = dict(source='pairs')
_GUARD = (
  'rollout/length >= 0.3 * before',
  'rollout/length <= 3 * before',
  'eval/reward >= 0.7 * before',
)
_DPO = dict(_PAIRS, preference='sigmoid')

_LABEL_FREE = dict(_GRPO, kl='k2(coef=0.1)', guard=_GUARD)
_SURE = dict(_LABEL_FREE, advantage='grpo(scale="none")')  # Small differences must stay small.

REINFORCEMENT = dict(
  reinforce=dict(
    advantage='reinforce', policy_loss='policy_gradient', aggregator='seq_mean_token_sum'
  ),
  ppo=dict(_PPO, advantage='gae', value_loss='clipped'),
  vapo=dict(
    advantage='vapo',
    policy_loss='ppo_clip(eps_high=0.28)',
    value_loss='clipped',
    aggregator='token_mean',
  ),
  grpo=_GRPO,
  dapo=dict(
    advantage='grpo',
    policy_loss='ppo_clip(eps_high=0.28)',
    aggregator='token_mean',
    shaping='overlong',
    refill=10,
  ),
  dr_grpo=dict(
    advantage='grpo(scale="none")', policy_loss='ppo_clip', aggregator='seq_mean_token_sum_norm'
  ),
  lite_ppo=dict(_PPO, advantage='grpo(scale="batch")'),
  bnpo=dict(_PPO, advantage='grpo'),
  gspo=dict(advantage='grpo', policy_loss='gspo', aggregator='seq_mean_token_mean'),
  gspo_token=dict(advantage='grpo', policy_loss='gspo_token', aggregator='seq_mean_token_mean'),
  cispo=dict(advantage='grpo', policy_loss='cispo', aggregator='token_mean'),
  scale_rl=dict(advantage='grpo(scale="batch")', policy_loss='cispo_cap', aggregator='token_mean'),
  sapo=dict(advantage='grpo', policy_loss='sapo', aggregator='seq_mean_token_mean'),
  vespo=dict(advantage='grpo', policy_loss='vespo', aggregator='token_mean'),
  gmpo=dict(advantage='grpo', policy_loss='gmpo', aggregator='seq_mean_token_mean'),
  luspo=dict(advantage='grpo', policy_loss='gspo', aggregator='seq_mean_token_sum'),
  gpg=dict(advantage='gpg', policy_loss='policy_gradient', aggregator='token_mean'),
  opo=dict(_PPO, advantage='opo'),
  rloo=dict(advantage='rloo', policy_loss='rloo_sequence', aggregator='seq_mean_token_mean'),
  reinforce_plus_plus=dict(_PPO, advantage='reinforce_plus_plus', kl='k1(coef=0.01)'),
  reinforce_plus_plus_baseline=dict(_PPO, advantage='reinforce_plus_plus_baseline', kl='k2'),
  remax=dict(_PPO, advantage='remax'),
  otb=dict(_PPO, advantage='optimal_token_baseline'),
  passk=dict(_PPO, advantage='grpo_passk'),
  max_rl=dict(_PPO, advantage='max_rl'),
  gdpo=dict(_PPO, advantage='gdpo'),
  opmd=dict(advantage='opmd', policy_loss='opmd', aggregator='token_mean'),
  asymre=dict(advantage='asymre', policy_loss='opmd', aggregator='token_mean'),
  topr=dict(advantage='reinforce', policy_loss='topr', aggregator='token_mean'),
  tis=dict(_PPO, advantage='grpo', correction='truncate'),
  mis=dict(_PPO, advantage='grpo', correction='keep_within(sequence=True)'),
  icepop=dict(_PPO, advantage='grpo', correction='keep_within(low=0.5, high=5.0)'),
  decoupled_ppo=dict(_PPO, advantage='grpo', correction='truncate(cap=5.0)'),
  tis_pg=dict(advantage='grpo', policy_loss='tis_pg', aggregator='token_mean'),
  sppo=dict(advantage='opmd', policy_loss='sppo', aggregator='token_mean'),
  kimi=dict(advantage='opmd', policy_loss='kimi', aggregator='token_mean'),
  dppo_tv=dict(advantage='opmd', policy_loss='dppo_tv', aggregator='token_mean'),
  rec=dict(_REC, policy_loss='rec'),
  rec_one_side=dict(_REC, policy_loss='rec(clip="one-side", weight="importance_sampling")'),
  rec_ring=dict(_REC, policy_loss='rec(clip="ring")'),
  raft=dict(advantage='raft', filter='imitated', policy_loss='nll', aggregator='token_mean'),
  clip_cov=dict(advantage='grpo', policy_loss='clip_cov', aggregator='token_mean'),
  kl_cov=dict(advantage='grpo', policy_loss='kl_cov', aggregator='token_mean'),
  m2po=dict(advantage='grpo', policy_loss='m2po', aggregator='token_mean'),
  clipb=dict(_PPO, advantage='grpo', filter='clipb'),
  clipv=dict(_PPO, advantage='grpo', filter='clipv'),
  top_entropy=dict(_PPO, advantage='grpo', filter='top_entropy'),
  intellect2=dict(advantage='grpo', policy_loss='ppo_clip(delta=4.0)', aggregator='token_mean'),
  mix=dict(_PPO, advantage='grpo', expert='nll', mix='constant'),
  mix_chord=dict(_PPO, advantage='grpo', expert='phi', mix='chord'),
  multi_step_grpo=dict(_PPO, advantage='step_wise_grpo', source='turns'),
  gigpo=dict(_PPO, advantage='gigpo', source='turns'),
)
SUPERVISED = dict(
  sft=dict(source='demonstrations', policy_loss='nll', aggregator='token_mean'),
  dft=dict(source='demonstrations', policy_loss='dft', aggregator='token_mean'),
  cpt=dict(source='text', policy_loss='nll', aggregator='token_mean'),
)
UNSUPERVISED = dict(
  ttrl=dict(_LABEL_FREE, reward='majority'),
  self_certainty=dict(_SURE, reward='self_certainty', kl='k2(coef=0.5)'),
  rent=dict(_SURE, reward='certainty'),
  em_rl=dict(_LABEL_FREE, advantage='rloo', reward='certainty(mean=False)'),
  em_ft=dict(
    policy_loss='entropy_minimisation', aggregator='token_mean', kl='k2(coef=0.1)', guard=_GUARD
  ),
)
DISTILLATION = dict(
  on_policy_distill=dict(_PPO, advantage='on_policy_distill'),
  distill_forward=dict(distill='forward_kl', aggregator='token_mean'),
  distill_reverse=dict(distill='reverse_kl', aggregator='token_mean'),
  distill_jsd=dict(distill='jensen_shannon', aggregator='token_mean'),
  distill_top_k=dict(distill='top_k', aggregator='token_mean'),
  gkd=dict(
    distill='jensen_shannon(temperature=0.9)',
    aggregator='token_mean',
    expert='nll',
    mix='constant(mu=0.5)',
  ),
)
PREFERENCE = dict(
  dpo=_DPO,
  cdpo=dict(_PAIRS, preference='sigmoid(label_smoothing=0.1)'),
  ld_dpo=dict(_PAIRS, preference='sigmoid(beyond=0.5)'),
  f_dpo=dict(_PAIRS, preference='sigmoid(divergence="js")'),
  tr_dpo=dict(_DPO, reference='refresh'),
  rpo=dict(_DPO, nll=1.0),
  cpo=dict(_PAIRS, preference='cpo', nll=1.0),
  orpo=dict(_PAIRS, preference='orpo', nll=1.0),
  mpo=dict(_PAIRS, preference='mpo', nll=1.0),
  kto=dict(source='labels', preference='kto'),
  apo_zero_unpaired=dict(source='labels', preference='apo_zero_unpaired'),
  bco=dict(source='labels', preference='bco'),
  online_dpo=dict(source='samples', preference='sigmoid'),
  spin=dict(source='self_play', preference='sigmoid', reference='refresh(every=50, mix=1.0)'),
  reward_model=dict(_PAIRS, ranking='bradley_terry'),
  **{
    name: dict(_PAIRS, preference=name)
    for name in (
      'robust',
      'hinge',
      'ipo',
      'exo_pair',
      'nca_pair',
      'bco_pair',
      'sppo_hard',
      'aot',
      'aot_unpaired',
      'apo_zero',
      'apo_down',
      'discopop',
      'sigmoid_norm',
      'dpop',
      'simpo',
      'alphapo',
    )
  },
)
PRESETS = REINFORCEMENT | SUPERVISED | UNSUPERVISED | DISTILLATION | PREFERENCE

COMPAT = dict(
  trl=dict(
    advantage=dict(grpo=dict(eps=1e-4)),
    policy_loss=dict(
      ppo_clip=dict(dual_clip=None), gspo=dict(eps=0.2, eps_high=0.2), sapo=dict(tau_negative=1.05)
    ),
    kl=dict(k3=dict(clamp=False)),
    value_loss=dict(clipped=dict(clip=0.2)),
    preference=dict(simpo=dict(beta=0.1)),
  ),
  verl=dict(
    advantage=dict(grpo=dict(singleton='keep'), gae=dict(lam=1.0), opmd=dict(singleton='keep')),
    policy_loss=dict(gmpo=dict(eps=0.2), cispo=dict(eps=0.2, eps_high=0.2), kl_cov=dict(coef=0.1)),
    aggregator=dict(seq_mean_token_sum_norm=dict(divide=False)),
  ),
  trinity=dict(
    advantage=dict(
      grpo=dict(singleton='keep'),
      opmd=dict(singleton='keep'),
      asymre=dict(singleton='keep'),
      gae=dict(lam=1.0, skip=False),
    ),
    policy_loss=dict(topr=dict(token_ratio=True)),
    kl=dict(k3=dict(clamp=False)),
    aggregator=dict(
      seq_mean_token_mean=dict(count_empty=True),
      seq_mean_token_sum=dict(count_empty=True),
      seq_mean_token_sum_norm=dict(count_empty=True, divide=False),
    ),
  ),
)
"""Options of pieces that other frameworks choose differently; what a config names stays."""

"""Any algorithm on the smallest task, in seconds: which letter follows the last one of the prompt?

`configs/probe.py:NAME` takes any preset, `python -m rft_jax.main --config=configs/probe.py:dpo` for
one; without a name it is grpo. Reinforcement starts from random weights, of which one answer in
twenty is right; preferences, distillation and label-free rewards from a short warm-up, which is
right three times in four (a reward model, and preferences without a reference, from random
weights). Expected: on held-out questions at least 90 % of the samples are right; of recorded
preferences at least 90 % are ranked right. Two CPU cores, under two minutes:
  python -m rft_jax.main --config=configs/probe.py:NAME
"""

from rft_jax import config as defaults
from rft_jax.algorithms.algorithm import resolve
from rft_jax.algorithms.presets import PRESETS, REINFORCEMENT, SUPERVISED

CHANGES = dict(
  discopop=dict(preference='discopop(tau=1.0)'),  # At tau = 0.05 it falls towards x < 0 from 0.
  top_entropy=dict(filter='top_entropy(share=0.5)'),  # An answer has two tokens.
)
"""What does not suit answers this short, or pairs this few."""
SIZES = dict(prompts=16, group=8, max_prompt=5, max_new=3)


def get_config(variant: str = ''):
  smoke = defaults.check_variant(variant, ('smoke', *PRESETS)) == 'smoke'
  preset = 'grpo' if smoke or not variant else variant
  algorithm = resolve(preset)
  c = defaults.base()
  c.tokenizer = 'characters(alphabet="abcdef=")'
  c.model.update(
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=1,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=16,
    initializer_range=0.1,
  )
  c.log.update(tensorboard=False)
  c.probe = probe(preset, algorithm)
  c.stages = ('probe',)
  ranks = algorithm.source == 'pairs' and not algorithm.nll and 'ref_logp' not in algorithm.needs
  if preset not in REINFORCEMENT | SUPERVISED and not ranks:
    c.warmup = imitation(steps=20)
    if algorithm.guard:  # Certainty must tell right from wrong.
      c.warmup = imitation(steps=60, task='letters(mistakes=0.2)')
    c.stages = ('warmup', 'probe')
  if algorithm.needs & {'teacher', 'teacher_logp'}:
    c.school = imitation(steps=100)
    c.school.model = c.probe.teacher = 'teacher'
    c.stages = ('warmup', 'school', 'probe')
  if smoke:
    c.probe.update(steps=2, prompts=4, evaluate=dict(prompts=8))
  return c


def imitation(steps: int, task: str = 'letters'):
  return defaults.stage(
    task,
    'sft',
    **SIZES | dict(prompts=32, group=1),
    steps=steps,
    optimizer=dict(lr=1e-2, warmup=5),
    evaluate=dict(prompts=64, temperature=1.0),
  )


def probe(preset: str, algorithm):
  """What differs between presets is what their kind calls for."""
  stage = defaults.stage(
    'letters(turns=2)' if algorithm.source == 'turns' else 'letters',
    preset,
    **SIZES,
    steps=300 if preset in REINFORCEMENT else 200,
    algorithm=CHANGES.get(preset, {}),
    optimizer=dict(lr=2e-3, warmup=5),
    evaluate=dict(prompts=256, temperature=1.0),
  )
  if algorithm.source == 'turns':
    stage.steps = 500
  if algorithm.source == 'text':
    stage.task = 'letters(size=512)'
  if not algorithm.samples:
    stage.update(prompts=64, group=1)
  if algorithm.parts['preference'] or algorithm.guard:
    stage.optimizer.lr = 3e-3 if preset == 'apo_down' else 1e-3
  if algorithm.guard:
    stage.steps, stage.optimizer.lr = 100, 5e-4
  if algorithm.parts['preference'] and algorithm.samples:
    stage.group = 2 if algorithm.source == 'samples' else 1
    stage.prompts = 64
  return stage

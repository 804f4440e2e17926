"""Every setting there is, with its default. A file in `configs/` starts from `base()` and changes
what differs.

Config holds strings, numbers and flags only. An unknown key is an error that names the nearest one.
"""

import os
from typing import Any

from ml_collections import ConfigDict

from rft_jax.algorithms.families import FAMILIES
from rft_jax.registry import ConfigError, nearest

RESUMABLE = (
  'mode',
  'log',
  'scoring',
  'parallel',
  'checkpoint.every',
  'checkpoint.keep',
  'export',
  'serve',
  'key',
  'restore',
)
"""What may differ between the runs that share a workdir (besides a stage's steps and how it is
evaluated)."""


def base() -> ConfigDict:
  """The settings of a run; stages are added to it by name, each a `stage()`, and listed in
  `stages`."""
  return ConfigDict(
    dict(
      mode='train',
      seed=0,
      stages=(),
      tokenizer='auto',  # characters(...), smalltalk, a directory or a hub id; auto = the model's
      date='',  # that chat templates print: YYYY-MM-DD, or today; '' = the run's first day
      model=dict(
        path='',  # a Hugging Face checkpoint: a directory or a hub id; '' = from scratch
        ignore=(),  # keys of its config.json to pass over
        dtype='float32',  # of activations: float32 | bfloat16
        param_dtype='float32',  # of what is not trained; what is trained stays float32
        remat='dots',  # what the backward pass computes again: none | dots | full
        attention='auto',  # auto | xla | cudnn | splash
        lora=dict(  # rank=0 trains all weights
          rank=0,
          alpha=16.0,
          targets='.*',  # searched for in the modules' names, such as q_proj|v_proj
          dropout=0.0,
          adapters=1,
          rslora=False,
          path='',  # a PEFT adapter to begin with
        ),
        model_type='qwen3',
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        rope_theta=10_000.0,
        rms_norm_eps=1e-6,
        tie_word_embeddings=True,
        initializer_range=0.02,
      ),
      parallel=dict(
        kind='auto',  # pmap | mesh; auto = pmap on several devices, else mesh
        devices=0,  # how many; 0 = all (on a CPU: one per core)
        fsdp=1,  # mesh only: parameters are cut into fsdp x tensor parts; 0 = all that is left
        tensor=1,
      ),
      checkpoint=dict(
        every=0,  # steps between checkpoints; 0 = only at the end of a stage
        keep=3,  # the last so many, and the best by `best`
        best='eval/accuracy',
      ),
      log=dict(every=1, samples=4, tensorboard=True, wandb='auto'),
      scoring=dict(workers=2, timeout=10.0),
      export=dict(path='', adapter=False, dtype=''),  # mode=export; '' = workdir/export, as trained
      serve=dict(  # mode=serve
        host='127.0.0.1',  # others need an API key
        port=8000,
        models=(),  # other names that clients may use, such as ('gpt-*', 'plain=rft:base')
        proxies=(),  # addresses and networks of proxies in front, such as ('127.0.0.1',)
        hosts=(),  # names that it answers to, such as ('chat.example.org',); () = any
        user_header='X-RFT-User',  # names an end user of a key with the scope users
        limits=dict(  # of one caller
          chat_per_minute=60,
          feedback_per_minute=30,
          feedback_per_day=500,
          visits_per_minute=30,  # new visitors from one address
          concurrent=4,  # answers at once
        ),
        slots=8,  # answers that are written at once
        context=256,  # tokens of a conversation and its next answer
        max_tokens=96,  # of an answer that does not ask for more or less
        learn=True,  # False: feedback is kept and waits
        rank=8,  # of everyone's adapter and of each user's
        alpha=16.0,
        targets='.*',
        rows=16,  # adapters that stay on the device; others are loaded when they are asked for
        lr=0.0,  # 0 = what suits the model's width
        quorum=3,  # users who must agree before all get it, more in a crowd; 1 = anyone
        forbidden=(),  # words that no version for everyone may say when it is tried
        ramp=(),  # shares of users who try it, such as (0.1, 0.5): () = everyone gets it at once
        holdout=0.0,  # share of users who are answered without adapters, to compare with
        grace=20.0,  # seconds that a stop may take; half of them for answers that are being written
        material='auto',  # what is suggested and watched: smalltalk | general
      ),
      key=dict(  # mode=keys: API keys of the server of this workdir; without a name, a list
        name='',  # of the user whose key it is, who is made where there is none
        scopes='chat,feedback',  # of chat, feedback, admin, users (may name end users)
        staff=False,  # whether what the user says may teach everyone at once
        revoke='',  # the id of a key that ends
      ),
      restore=dict(  # mode=restore: copies of the store of this workdir's server; '' = a list
        verify='',  # one to prove sound: its name, 'latest', or the path of a file
        copy='',  # one to put back in the store's place, while no server runs
      ),
    )
  )


def stage(task: str, preset: str, **settings) -> ConfigDict:
  """One stretch of training: `steps` iterations of one algorithm on one task. `settings` replace
  defaults."""
  config = ConfigDict(
    dict(
      task=task,
      steps=100,
      prompts=32,  # per iteration
      group=8,  # samples per prompt
      max_prompt=64,  # tokens
      max_new=64,  # tokens
      packing=False,  # several demonstrations in a row of max_prompt + max_new tokens
      staleness=0,  # iterations that sampling may run ahead of learning (verifiers in Python only)
      epochs=1,
      minibatches=1,
      microbatches=1,
      stop='',  # end early once e.g. 'eval/accuracy >= 0.8'
      guard=('preset',),  # what must hold: 'rollout/length >= 0.3 * before'; () = nothing
      collapse='stop',  # stop with the reason | restore the last checkpoint, once that fails
      algorithm=dict(  # '' = the preset's, 'none' = without
        preset=preset,
        source='',
        **dict.fromkeys(FAMILIES, ''),
        nll=-1.0,  # weight of imitating what is preferred; below 0 = the preset's
        compat='',  # trl | verl | trinity: that framework's default options
      ),
      refill=-1,  # rounds of sampling to replace groups of equal rewards; below 0 = the preset's
      model='policy',  # the name of what is trained; a new name begins as a copy of the policy
      critic='shared',  # shared | separate: whether a value function has a trunk of its own
      teacher='',  # the model, by name, that distillation follows
      reward_model='',  # the model, by name, that rewards in place of the task
      demonstrations=dict(task='', prompts=0),  # for 'mix': '' and 0 = the stage's own
      sampling=dict(temperature=1.0, top_k=0, top_p=1.0, min_new=0),
      optimizer=dict(
        lr=3e-4,
        schedule='constant',
        warmup=10,
        final=0.1,  # final: last / highest rate
        b1=0.9,
        b2=0.95,
        eps=1e-8,
        weight_decay=0.0,
        clip=1.0,
      ),
      evaluate=dict(every=0, prompts=256, temperature=0.0, nll=False),  # nll: of demonstrations
    )
  )  # every=0: before and after
  config.update(settings)
  return config


PATHS = 'tokenizer', 'model.path', 'model.lora.path', 'export.path'
"""What may begin with ~ for the user's own folder; `dataset` sees to its own."""
LEAST = {
  'seed': 0,
  'parallel.devices': 0,
  'parallel.fsdp': 0,
  'parallel.tensor': 1,
  'checkpoint.every': 0,
  'checkpoint.keep': 1,
  'log.every': 1,
  'log.samples': 0,
  'scoring.workers': 0,
  'serve.port': 0,
  'serve.slots': 1,
  'serve.context': 16,
  'serve.max_tokens': 1,
  'serve.rank': 1,
  'serve.rows': 1,
  'serve.quorum': 1,
  'serve.grace': 1,
  'serve.limits.chat_per_minute': 1,
  'serve.limits.feedback_per_minute': 1,
  'serve.limits.feedback_per_day': 1,
  'serve.limits.visits_per_minute': 1,
  'serve.limits.concurrent': 1,
}
LEAST_OF_STAGE = {
  'steps': 1,
  'prompts': 1,
  'group': 1,
  'max_prompt': 1,
  'max_new': 1,
  'staleness': 0,
  'epochs': 1,
  'minibatches': 1,
  'microbatches': 1,
  'optimizer.warmup': 0,
  'evaluate.every': 0,
  'evaluate.prompts': 1,
}


def expand(config: Any) -> None:
  """Writes out a leading ~ in all paths."""
  for path in PATHS:
    *above, last = path.split('.')
    node: Any = config
    for key in above:
      node = node.get(key, {})
    if str(node.get(last, '')).startswith('~'):
      node[last] = os.path.expanduser(node[last])


def check(config: Any) -> None:
  """Raises ConfigError for stages that are not there, unknown keys, and numbers out of range."""
  if not config.stages:
    raise ConfigError("stages=() leaves nothing to do: name at least one, such as stages=('rl',)")
  known: Any = base()
  groups = [k for k, v in config.items() if isinstance(v, ConfigDict)]
  stages = [key for key in groups if key not in known]
  for name in config.stages:
    if name not in stages:
      raise ConfigError(
        f'stages names {name!r}, but the config has no such stage: ' + nearest(name, stages)
      )
  check_keys({k: v for k, v in config.items() if k not in (*stages, 'model')}, known)
  check_least(config, LEAST)
  for name in stages:
    check_keys(config[name], stage('', ''), f'{name}.')
    check_least(config[name], LEAST_OF_STAGE, f'{name}.')


def check_keys(given, known, prefix: str = '') -> None:
  """Raises ConfigError for a key of `given`, at any depth, that `known` lacks."""
  for key, value in given.items():
    if key not in known:
      raise ConfigError(f'{prefix}{key}={value!r} is no setting: {nearest(key, known)}')
    if isinstance(known[key], ConfigDict):
      check_keys(value, known[key], f'{prefix}{key}.')


def check_least(config, least: dict[str, int], prefix: str = '') -> None:
  """Raises ConfigError for a number below its bound."""
  for path, bound in least.items():
    value: Any = config
    for key in path.split('.'):
      value = value[key]
    if value < bound:
      raise ConfigError(f'{prefix}{path}={value} must be at least {bound}')


def check_variant(variant: str, known: tuple[str, ...] = ('smoke',)) -> str:
  """The variant that a file of `configs/` was asked for, '' for none. Raises ConfigError for
  others."""
  if variant and variant not in known:
    raise ConfigError(f'unknown variant {variant!r}: {nearest(variant, known)}')
  return variant

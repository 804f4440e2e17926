"""Train: runs the stages of a config one after the other, or goes on where an earlier run in the
same workdir stopped."""

import contextlib
import copy
import math
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from rft_jax.config import RESUMABLE
from rft_jax.evaluators import make_evaluate
from rft_jax.infra.checkpoint import Checkpoints
from rft_jax.infra.curve import draw, read
from rft_jax.infra.memory import explained
from rft_jax.infra.metrics import Metrics
from rft_jax.infra.progress import Progress, Stopped
from rft_jax.infra.workdir import dated, first_day, open_workdir
from rft_jax.modes.fitted import check_same, fingerprints, fitted
from rft_jax.modes.report import table
from rft_jax.modes.rules import Collapsed, Guard, satisfied
from rft_jax.modes.session import Session, checkpoint_directory, open_session
from rft_jax.modes.split import make_stage
from rft_jax.modes.stage import FromData, Stage
from rft_jax.registry import UserError

Watch = Callable[[str], None]
SHOWN = {
  'reward/mean': 'reward',
  'loss/nll': 'loss',
  'throughput/completion_tokens_per_s': 'tokens/s',
}
"""What the progress bar shows, besides the accuracy of the last evaluation."""
BEGINNING: dict[str, Any] = dict(stage=0, step=0, total=0, stopped=False, before={}, facts={})
SPEED = 'throughput/completion_tokens_per_s'
CURVE = 'reward/mean', 'task/thinking', 'loss/nll', 'eval/accuracy', 'eval/preference_accuracy'


class NonFinite(UserError):
  """The loss or its gradient is no longer a number; what was saved before is intact."""


def run(config, workdir: str, started: float, watch: Watch = lambda text: None) -> dict:
  """Trains; returns what is also in `workdir/summary.json`. `started`: when the process began, s
  since 1970; `watch` hears of each step before it begins, and ends the run by raising Stopped: the
  same again goes on from there."""
  day = first_day(workdir)
  session = fitted(open_session(dated(config, workdir)))
  first = rehearse(session)
  changeable = tuple(f'{name}.{key}' for name in config.stages for key in ('steps', 'evaluate'))
  open_workdir(workdir, config.to_dict(), RESUMABLE + changeable, day)
  with Checkpoints(
    checkpoint_directory(workdir), config.checkpoint.keep, config.checkpoint.best or None
  ) as saved:
    place = BEGINNING if saved.latest() is None else saved.restore(saved.latest(), {})[2]
    data = fingerprints(session)
    check_same(place.get('data', {}), data, workdir)
    with Metrics(
      workdir,
      os.path.basename(os.path.abspath(workdir)),
      config.log.tensorboard,
      config.log.wandb,
      config.to_dict(),
      place['total'] or -1,
      config.stages[place['stage']],
    ) as metrics:
      return Training(
        session, workdir, saved, metrics, started, place | dict(data=data), first, watch
      ).run()


def rehearse(session: Session) -> FromData | None:
  """Raises UserError for what cannot work in any stage, before the first one begins; returns the
  first stage if it learns from data, which may have taken long to read."""
  s, first = session, None
  if s.config.model.lora.path:
    s.adapters()
  for index, name in enumerate(s.config.stages):
    stage = s.config[name]
    rehearsed = make_stage(stage, index, s, s.tasks[name], None)
    rehearsed.rehearse()
    make_evaluate(rehearsed, None)
    if index == 0 and isinstance(rehearsed, FromData):
      first = rehearsed
  return first


class Training:
  """A run and how far it has come: `place` is the JSON half of its checkpoint; first: what
  `rehearse` has made of the first stage."""

  def __init__(
    self,
    session: Session,
    workdir: str,
    saved: Checkpoints,
    metrics: Metrics,
    started: float,
    place: dict[str, Any],
    first: FromData | None,
    watch: Watch = lambda text: None,
  ):
    self.first, self.watch = first, watch
    self.session, self.config, self.workdir = session, session.config, workdir
    self.saved, self.metrics, self.started = saved, metrics, started
    self.shown: dict[str, float] = {}
    self.place: dict[str, Any] = copy.deepcopy(place)

  def run(self) -> dict:
    self.models = {'policy': self.session.params()}
    if self.place['stage']:
      self.models = self._restored_models()
    for index, name in enumerate(self.config.stages):
      if index < self.place['stage']:
        continue
      with self.session.scoring(name) as scorer:
        self.models[self.config[name].model] = self._stage(index, name, scorer)
    return self._finish()

  def _stage(self, index, name, scorer):
    s = self.session
    first, self.first = self.first, None  # Its data are kept no longer than it runs.
    if first is None or index > 0:
      stage = make_stage(self.config[name], index, s, s.tasks[name], scorer)
    else:
      stage = first
    with explained(stage.way_out):
      return self._run(stage, index, name, make_evaluate(stage, scorer))

  def _run(self, stage: Stage, index, name, evaluate):
    s, config, last = self.session, stage.config, index == len(self.config.stages) - 1
    params = self.models.get(config.model)
    if params is None:
      params = s.params(config.model, base=self.models['policy'])
    state = s.placement.put_state(stage.state(params, self.place['total'], self.models))
    if index == self.place['stage'] and self.place['step']:
      state = self._restore(stage, state)
      self.guard = Guard(stage.guard, self.place['before'])
    else:
      self.place |= dict(stage=index, step=0, stopped=False, before={})
      self.guard = Guard(stage.guard, self.place['before'])
      report = self._evaluate(evaluate, state, name, 'before' if last else '')
      satisfied(config.stop, report)
    with contextlib.closing(Progress(config.steps, self.place['step'], name)) as bar:
      while self.place['step'] < config.steps and not self.place['stopped']:
        try:
          state = self._iteration(stage, state, evaluate, name, bar, last)
        except Collapsed as error:
          state = self._return_to_last(stage, state, index, error)
    return s.placement.get_state(state).weights

  def _iteration(self, stage, state, evaluate, name, bar, last):
    config = stage.config
    self._heed(stage, state, name)
    state = self._advance(stage, state, name, bar, last)
    step, report, every = self.place['step'], None, self.config.checkpoint.every
    done = step == config.steps
    if done or (config.evaluate.every and step % config.evaluate.every == 0):
      report = self._evaluate(evaluate, state, name, 'after' if last else '')
      self.place['stopped'] = satisfied(config.stop, report)
    if done or self.place['stopped'] or (every and step % every == 0):
      self._save(stage, state, report)
    return state

  def _heed(self, stage, state, name):
    """Ends here where whoever watches wants it; what was learned stays."""
    try:
      self.watch(f'training: {name} {self.place["step"]}/{stage.config.steps}')
    except Stopped:
      if self.place['step']:
        self._save(stage, state, None)
        self.saved.wait()
      raise

  def _return_to_last(self, stage, state, index, error):
    """Ends a collapsed stage with the weights of its last checkpoint, if that is what is wanted."""
    self.saved.wait()
    latest = self.saved.latest()
    if stage.config.collapse != 'restore' or latest is None:
      raise error
    place = self.saved.restore(latest, {})[2]
    if place['stage'] != index:
      raise error
    print(f'{error}; back to step {place["step"]}', file=sys.stderr)
    facts = place['facts'] | {'collapsed': str(error)}
    self.place = place | dict(stopped=True, facts=facts)
    return self._restore(stage, state)

  def _advance(self, stage: Stage, state, name, bar, last):
    began, step = time.perf_counter(), self.place['step']
    state, metrics = stage.advance(state, step)
    seconds = time.perf_counter() - began
    self.place |= dict(step=step + 1, total=self.place['total'] + 1)
    for key in ('loss/total', 'update/grad_norm'):
      if not math.isfinite(metrics.get(key, 0.0)):
        raise NonFinite(
          f'{key} is {metrics[key]} at step {step + 1} of stage {name!r}: lower '
          f'{name}.optimizer.lr, or look at the last lines of {self.workdir}/metrics.jsonl'
        )
    facts = self.place['facts']
    facts.setdefault('time/first_update_s', time.time() - self.started)
    if stage.task.skipped:
      metrics['data/skipped'] = float(stage.task.skipped())
    metrics[SPEED] = metrics['rollout/tokens'] / seconds
    if last:
      for key, value in metrics.items():
        if key.startswith(('task/', 'reward/mean')):
          facts.setdefault(f'{key}/before', known(value))
          facts[f'{key}/after'] = known(value)
    bar.update(
      step + 1, {short: metrics[key] for key, short in SHOWN.items() if key in metrics} | self.shown
    )
    self.guard.check(metrics, step + 1, 'step')
    if (step + 1) % self.config.log.every == 0:
      times = {f'time/{k}_s': v for k, v in self.session.clock.take().items()}
      self.metrics.log(self.place['total'], metrics | times, name)
    return state

  def _evaluate(self, evaluate, state, name, when):
    with self.session.clock('evaluate'):
      report = evaluate(state)
    self.metrics.log(self.place['total'], report.metrics, name)
    self.guard.check(report.metrics, self.place['step'], 'eval')
    shown = report.samples[: self.config.log.samples]
    self.metrics.samples(self.place['total'], shown, name)
    if when:
      self.place['facts'] |= {f'{k}/{when}': known(v) for k, v in report.metrics.items()}
      self.place['facts'][f'samples/{when}'] = shown
    seen = {k.removeprefix('eval/'): v for k, v in report.metrics.items()}
    self.shown = {k: seen[k] for k in ('accuracy', 'preference_accuracy', 'nll') if k in seen}
    return report.metrics

  def _save(self, stage, state, report):
    arrays = {'state': self.session.placement.get_state(state).bare()}
    if others := {k: v for k, v in self.models.items() if k != stage.config.model}:
      arrays['models'] = others
    if pending := stage.pending():
      arrays['pending'] = pending
    self.saved.save(self.place['total'], arrays, self.place | dict(pending=len(pending)), report)

  def _restored_models(self) -> dict[str, Any]:
    """Models of earlier stages, and what the present one begins with where it had none."""
    s, names = self.session, self.config.stages
    index = self.place['stage']
    own = self.config[names[index]].model
    before = {'policy', *(self.config[name].model for name in names[:index])}
    others = {k: s.shapes(k) for k in sorted(before - {own})}
    models = {'policy': self.models['policy']}
    if others:
      models |= self.saved.restore(self.place['total'], {'models': others})[1]['models']
    return models

  def _restore(self, stage: Stage, state):
    """The state and what was sampled ahead, as they were when the checkpoint was written."""
    place, placement = self.place, self.session.placement
    whole = placement.get_state(state)
    abstract = {'state': whole.bare()}
    if place['pending']:
      abstract['pending'] = stage.blank(place['pending'])
    arrays = self.saved.restore(place['total'], abstract)[1]
    stage.restore(place['step'], arrays.get('pending', ()))
    return placement.put_state(arrays['state'].on(whole.frozen.get('base')))

  def _finish(self) -> dict:
    self.saved.wait()
    facts = dict(self.place['facts'])
    last, written = self.config.stages[-1], os.path.join(self.workdir, 'metrics.jsonl')
    speeds = sorted(value for _, value in read(written, last).get(SPEED, [(0, 0.0)]))
    facts |= {
      SPEED: speeds[len(speeds) // 2],
      'time/total_s': time.time() - self.started,
      'steps': self.place['total'],
    }
    self.metrics.summary(facts)
    draw(written, os.path.join(self.workdir, 'curve.png'), CURVE, self.config[last].task, last)
    print(table(facts, self.workdir))
    return facts


def known(value: float) -> float | None:
  """JSON has no NaN."""
  return value if math.isfinite(value) else None

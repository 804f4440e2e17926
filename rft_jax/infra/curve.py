"""One figure of how a run went."""

import json
import os
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rft_jax.registry import ConfigError, nearest

SPARSE = 40


def draw(
  metrics_path: str | os.PathLike,
  out_path: str | os.PathLike,
  keys: Sequence[str],
  title: str,
  stage: str | None = None,
) -> None:
  """Draws the metrics `keys` over the steps of `stage` (all stages if None) from metrics.jsonl.

  Keys without values are left out. Raises ConfigError where none has any.
  """
  series = read(metrics_path, stage)
  shown = [key for key in keys if key in series]
  if not shown:
    raise ConfigError(
      f'no values of {", ".join(keys)} in {metrics_path}: '
      f'{nearest(keys[0] if keys else "", series)}'
    )
  figure = Figure(figsize=(7, 4), layout='constrained')
  axes = figure.add_subplot()
  for key in shown:
    steps, values = zip(*series[key], strict=True)
    axes.plot(
      steps,
      values,
      label=key,
      linewidth=1.6,
      markersize=4,
      marker='o' if len(steps) <= SPARSE else '',
    )
  axes.set_title(title, loc='left', fontsize=12)
  axes.set_xlabel('step')
  if len(shown) == 1:
    axes.set_ylabel(shown[0])
  else:
    axes.set_ylabel('value')
    axes.legend(frameon=False, fontsize=9)
  axes.grid(alpha=0.25, linewidth=0.6)
  axes.spines[['top', 'right']].set_visible(False)
  axes.xaxis.set_major_locator(MaxNLocator('auto', integer=True))
  figure.savefig(out_path, dpi=150)


def read(
  metrics_path: str | os.PathLike, stage: str | None = None
) -> dict[str, list[tuple[int, float]]]:
  """Metric -> its (step, value) pairs in order of writing, without nulls."""
  series: dict[str, list[tuple[int, float]]] = {}
  try:
    with open(metrics_path) as file:
      records = [json.loads(line) for line in file]
  except (OSError, ValueError) as error:
    raise ConfigError(
      f'cannot read metrics from {metrics_path} ({error}): name the metrics.jsonl of a run'
    ) from error
  for record in records:
    if stage is None or record.get('stage') == stage:
      for key, value in record.items():
        if key not in ('step', 'stage') and value is not None:
          series.setdefault(key, []).append((record['step'], value))
  return series

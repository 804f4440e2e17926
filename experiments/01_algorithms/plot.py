"""Draws curves.csv and results.csv as plot.png, a small picture per preset: python
experiments/01_algorithms/plot.py"""

import collections
import csv
import pathlib
import statistics
import sys

from matplotlib.figure import Figure

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from rft_jax.algorithms import presets

COLUMNS = 11
COLOURS = dict(
  REINFORCEMENT='#1f6fb4',
  SUPERVISED='#7a7a7a',
  UNSUPERVISED='#8a4fb0',
  DISTILLATION='#2e8b57',
  PREFERENCE='#c8641b',
)
NAMES = dict(
  REINFORCEMENT='reinforcement',
  SUPERVISED='imitation, text',
  UNSUPERVISED='without labels',
  DISTILLATION='distillation',
  PREFERENCE='preferences, reward model',
)


def main():
  curves, costs = read('curves'), {k: rows[0] for k, rows in read('results').items()}
  shown = [(kind, p) for kind in COLOURS for p in getattr(presets, kind) if p in curves]
  lines = -(-len(shown) // COLUMNS)
  figure = Figure(figsize=(16, 1.22 * lines + 0.9), layout='constrained')
  axes = figure.subplots(lines, COLUMNS, sharey=True).reshape(-1)
  for one, (kind, preset) in zip(axes, shown, strict=False):
    draw(one, curves[preset], COLOURS[kind])
    one.set_title(f'{preset}', fontsize=8, pad=2)
    one.text(0.97, 0.07, f'{float(costs[preset]["ms_per_step"]):.0f} ms', **corner(one))
  for one in axes[len(shown) :]:
    one.set_axis_off()
  seeds = costs[shown[0][1]]['seeds']
  figure.suptitle(
    f'Held-out accuracy by iteration, {seeds} seeds (mean, standard error)',
    fontsize=11,
    x=0.01,
    ha='left',
  )
  handles = [
    axes[0].plot([], [], color=c, linewidth=3, label=NAMES[k])[0] for k, c in COLOURS.items()
  ]
  figure.legend(handles=handles, loc='upper right', ncols=5, frameon=False, fontsize=9)
  figure.savefig(HERE / 'plot.png', dpi=110)
  figure.savefig(HERE.parents[1] / 'docs' / 'algorithms.png', dpi=110)


def corner(axes) -> dict:
  return dict(transform=axes.transAxes, ha='right', fontsize=6.5, color='#666666')


def draw(axes, rows, colour):
  by_step = collections.defaultdict(list)
  for row in rows:
    by_step[int(row['step'])].append(float(row['accuracy']))
  steps = sorted(by_step)
  mean = [statistics.mean(by_step[s]) for s in steps]
  error = [statistics.stdev(by_step[s]) / len(by_step[s]) ** 0.5 for s in steps]
  low, high = ([m + sign * e for m, e in zip(mean, error, strict=True)] for sign in (-1, 1))
  axes.fill_between(steps, low, high, color=colour, alpha=0.25, linewidth=0)
  axes.plot(steps, mean, color=colour, linewidth=1.4)
  axes.set(ylim=(-0.03, 1.05), yticks=(0, 0.5, 1), xticks=(0, steps[-1]))
  axes.tick_params(labelsize=6.5, length=2, pad=1)
  axes.grid(alpha=0.25, linewidth=0.5)
  axes.spines[['top', 'right']].set_visible(False)


def read(name: str) -> dict[str, list[dict]]:
  rows = collections.defaultdict(list)
  with open(HERE / f'{name}.csv') as file:
    for row in csv.DictReader(file):
      rows[row['preset']].append(row)
  return rows


if __name__ == '__main__':
  main()

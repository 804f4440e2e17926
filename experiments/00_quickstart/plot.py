"""Draws curves.csv as plot.png and as the README's picture: python
experiments/00_quickstart/plot.py"""

import collections
import csv
import pathlib

from matplotlib.figure import Figure

HERE = pathlib.Path(__file__).parent
LINES = dict(reward=('right answers', '#1f6fb4'), thinking=('thinks first', '#e0761b'))


def main():
  with open(HERE / 'curves.csv') as file:
    rows = list(csv.DictReader(file))
  figure = Figure(figsize=(7, 3.4), layout='constrained')
  axes = figure.add_subplot()
  for column, (label, colour) in LINES.items():
    draw(axes, rows, column, label, colour)
  seeds = len({row['seed'] for row in rows})
  axes.set(
    xlabel='reinforcement step (512 samples each)', ylabel='share of samples', ylim=(0, 1.02)
  )
  axes.set_title(
    f'Rewarded for right answers only, the model starts to think ({seeds} seeds)',
    loc='left',
    fontsize=11,
  )
  axes.grid(alpha=0.25, linewidth=0.6)
  axes.spines[['top', 'right']].set_visible(False)
  axes.legend(frameon=False, loc='center right')
  for path in (HERE / 'plot.png', HERE.parents[1] / 'docs' / 'quickstart.png'):
    figure.savefig(path, dpi=150)


def draw(axes, rows, column, label, colour):
  """Each seed thin, their mean (of those still running) thick."""
  by_step = collections.defaultdict(list)
  for seed in sorted({row['seed'] for row in rows}):
    own = [(int(row['step']), float(row[column])) for row in rows if row['seed'] == seed]
    axes.plot(*zip(*own, strict=True), color=colour, alpha=0.3, linewidth=0.8)
    for step, value in own:
      by_step[step].append(value)
  steps = sorted(by_step)
  axes.plot(
    steps,
    [sum(by_step[s]) / len(by_step[s]) for s in steps],
    color=colour,
    linewidth=2,
    label=label,
  )


if __name__ == '__main__':
  main()

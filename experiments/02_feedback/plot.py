"""Draws the CSV files as plot.png, and prints the tables of README.md: python
experiments/02_feedback/plot.py"""

import collections
import csv
import pathlib
import statistics
import sys

from matplotlib.figure import Figure

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from scores import n_80

COLOURS = dict(
  thumbs='#1f6fb4',
  stars='#c8641b',
  pair='#2e8b57',
  edit='#8a4fb0',
  critique='#b22222',
  fact='#555555',
)
STAGES = 'ack', 'queue', 'step', 'publish', 'total'


def main():
  figure = Figure(figsize=(11, 7.2), layout='constrained')
  panels = curves, latency, content, attacks = figure.subplots(2, 2).flat
  draw_curves(curves, read('reflection'))
  draw_latency(latency, read('latency'))
  draw_content(content, read('together'))
  draw_attacks(attacks, read('poison'))
  for axes in panels:
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.spines[['top', 'right']].set_visible(False)
  figure.savefig(HERE / 'plot.png', dpi=120)
  table('reflection', reflected(read('reflection')))
  table('latency, ms', timed(read('latency')))


def draw_curves(axes, rows):
  for kind, found in grouped(rows, 'kind').items():
    points = sorted(grouped(found, 'events').items(), key=lambda item: int(item[0]))
    xs, ys = [int(k) for k, _ in points], [mean(v, 'hold') for _, v in points]
    axes.plot(xs, ys, marker='o', markersize=3, color=COLOURS[kind], label=kind)
  axes.set(xlabel='events', ylabel='good answers to other prompts', ylim=(-0.02, 1.02))
  axes.legend(frameon=False, fontsize=8)


def draw_latency(axes, rows):
  axes.boxplot([[float(r[s]) for r in rows if r[s]] for s in STAGES], showfliers=False)
  axes.set_xticks(range(1, len(STAGES) + 1), STAGES)
  axes.set(ylabel='ms', yscale='log', title='From feedback to served')


def draw_content(axes, rows):
  """How content five users are whose wishes contradict one another: each by itself."""
  arms = dict(live='taught', notes='told in a note', frozen='frozen', bystander="a stranger's")
  colours = '#2e8b57', '#8a4fb0', '#999999', '#cccccc'
  for i, (arm, colour) in enumerate(zip(arms, colours, strict=True)):
    found = [row for row in rows if row['arm'] == arm]
    xs, ys = [j + 0.2 * i for j in range(len(found))], [float(r[r['owner']]) for r in found]
    axes.bar(xs, ys, 0.18, color=colour, label=arms[arm])
  owners = list(dict.fromkeys(row['owner'] for row in rows))
  axes.set_xticks([i + 0.3 for i in range(len(owners))], owners)
  axes.set(xlabel='what the user wants', ylabel='answers like that', ylim=(-0.02, 1.25))
  axes.legend(frameon=False, fontsize=8, ncols=4, loc='upper center')


def draw_attacks(axes, rows):
  """The worst of each attack, at the peak."""
  names = list(dict.fromkeys(row['attack'] for row in rows))
  for i, (gates, colour) in enumerate((('on', '#2e8b57'), ('off', '#b22222'))):
    found = [
      [float(r['lies_peak']) for r in rows if r['attack'] == n and r['gates'] == gates]
      for n in names
    ]
    axes.barh(
      [j + 0.4 * i for j in range(len(names))],
      [max(x, default=0.0) for x in found],
      0.36,
      color=colour,
      label=f'gates {gates}',
    )
  axes.set_yticks([j + 0.2 for j in range(len(names))], names, fontsize=6)
  axes.set(xlabel='lies told to others, at the peak', xlim=(-0.02, 1.02))
  axes.legend(frameon=False, fontsize=8)


def reflected(rows: list[dict]) -> list[dict]:
  """By kind: before and after, and the fewest events after which 80 % hold."""
  table = []
  for kind, found in grouped(rows, 'kind').items():
    by_events = {int(k): v for k, v in grouped(found, 'events').items()}
    first, last = min(by_events), max(by_events)
    cells = dict(kind=kind, events=last)
    for part in ('same', 'para', 'hold', 'apart', 'others'):
      cells[part] = f'{mean(by_events[first], part):.2f} -> {mean(by_events[last], part):.2f}'
    curve = [(events, mean(v, 'hold')) for events, v in by_events.items()]
    table.append(cells | dict(n_80=n_80(curve) or f'> {last}'))
  return table


def timed(rows: list[dict]) -> list[dict]:
  """p50 and p95 of every stage."""
  table = []
  for stage in STAGES:
    found = sorted(float(row[stage]) for row in rows if row[stage])
    table.append(
      dict(
        stage=stage, p50=f'{found[len(found) // 2]:.0f}', p95=f'{found[int(0.95 * len(found))]:.0f}'
      )
    )
  return table


def grouped(rows: list[dict], key: str) -> dict[str, list[dict]]:
  found = collections.defaultdict(list)
  for row in rows:
    found[row[key]].append(row)
  return found


def mean(rows: list[dict], key: str) -> float:
  return statistics.mean(float(row[key]) for row in rows)


def table(title: str, rows: list[dict]):
  print(f'\n{title}\n| ' + ' | '.join(rows[0]) + ' |\n' + '|---' * len(rows[0]) + '|')
  for row in rows:
    print('| ' + ' | '.join(str(value) for value in row.values()) + ' |')


def read(name: str) -> list[dict]:
  with open(HERE / f'{name}.csv') as file:
    return list(csv.DictReader(file))


if __name__ == '__main__':
  main()

"""Live feedback at a real size on the accelerator that is there: writes large.csv.

python experiments/02_feedback/large.py [0.5B 1.5B]

Qwen2.5's shapes with random weights behind the real server: what is said means nothing, but times
are those of a checkpoint. Events are thumbs, edits and choices of one user after the other.
"""

import argparse
import contextlib
import csv
import pathlib
import random
import statistics
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / '04_memory'), str(HERE.parents[1])]

import jax
import tokenizers
import uvicorn
from guest import Guest
from memory import model  # pyright: ignore[reportMissingImports]
from streams import streams
from tokenizers import decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from rft_jax import config as defaults
from rft_jax.feedback.store import Store
from rft_jax.infra.launch import prepare_jax
from rft_jax.models.policy import make_policy
from rft_jax.serve import server
from rft_jax.serve.classroom import Model, opened
from rft_jax.serve.limits import Limits, Rates
from rft_jax.serve.material import find

TEMPLATE = (
  "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
  '{% if add_generation_prompt %}<|assistant|>{% endif %}'
)
MARKS = '<|end|>', '<|user|>', '<|assistant|>', '<|system|>'


def tokenizer(size: int) -> PreTrainedTokenizerFast:
  """Bytes, and invented words up to that size."""
  letters = sorted(pre_tokenizers.ByteLevel.alphabet())
  vocabulary = [*MARKS, *letters]
  vocabulary += [f'Ġw{i}' for i in range(size - len(vocabulary))]
  core = tokenizers.Tokenizer(models.BPE({text: i for i, text in enumerate(vocabulary)}, []))
  core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
  core.decoder = decoders.ByteLevel()
  core.add_special_tokens(list(MARKS))
  return PreTrainedTokenizerFast(
    tokenizer_object=core, eos_token=MARKS[0], pad_token=MARKS[0], chat_template=TEMPLATE
  )


@contextlib.contextmanager
def hosted(size: str, slots: int, context: int, new: int):
  """The address of a server in this process."""
  config = model(size)
  policy = make_policy(config)
  weights = jax.jit(decode_weights(policy))(jax.random.key(0))
  name = f'{size} of random weights'
  served = Model(weights, config, tokenizer(config.vocab_size), [0], name, name)
  settings = defaults.base().serve
  settings.update(slots=slots, context=context, max_tokens=new)
  with tempfile.TemporaryDirectory() as folder:
    with (
      contextlib.closing(Store(pathlib.Path(folder) / 'store.db')) as store,
      server.listen(store, '127.0.0.1', 0) as listening,
      opened(store, served, settings, find('general'), print) as service,
    ):
      service.limits = Limits(Rates(10**6, 10**6, 10**6, 10**6, 64))
      app = uvicorn.Server(uvicorn.Config(server.create_app(service), log_level='warning'))
      thread = threading.Thread(target=app.run, args=([listening],))
      thread.start()
      try:
        yield f'http://127.0.0.1:{listening.getsockname()[1]}'
      finally:
        app.should_exit = True
        thread.join()


def decode_weights(policy):
  """Weights in half precision, as a checkpoint has them."""
  return lambda rng: jax.tree.map(lambda x: x.astype('bfloat16'), policy.init(rng))


class Teacher:
  """Gives feedback of every kind in turn."""

  def __init__(self, url: str):
    self.guest, self.draw = Guest(url), random.Random(0)

  def once(self) -> dict:
    kind = self.draw.choice(['binary', 'edit', 'preference'])
    answers = self.guest.ask(f'Question {self.draw.random()}?', 2 if kind == 'preference' else 1)
    value = dict(
      binary=dict(label=self.draw.random() < 0.5),
      edit=dict(content='This is what I would have said in your place, word by word.'),
      preference=dict(outcome='a', a=answers[0].message_id, b=answers[-1].message_id),
    )[kind]
    return self.guest.settled(self.guest.judge(answers[0], kind, value)) | dict(kind=kind)


def measure(size: str, given):
  began = time.time()
  with hosted(size, given.slots, given.context, given.new) as url:
    ready = time.time() - began
    teacher = Teacher(url)
    receipts = [teacher.once() for _ in range(given.events)]
    for kind in sorted({one['kind'] for one in receipts}):
      times = [one['latency_ms'] for one in receipts if one['kind'] == kind]
      served = [t['total'] for t in times if t.get('total')]
      step = [t['step'] for t in times if t.get('step')]
      if len(served) > 1:
        cuts = statistics.quantiles(served, n=20, method='inclusive')
        row = dict(events=len(served), p50_ms=cuts[9], p95_ms=cuts[18])
        yield dict(work=f'{kind} to served', **row, step_p50_ms=statistics.median(step))
    for row in streams(url, teacher.once, given.readers, given.seconds):
      work = f'{row["readers"]} streams, {row["phase"]}'
      yield dict(
        work=work,
        events=row['learned'],
        p50_ms=row['gap_p50_ms'],
        p95_ms=row['gap_p95_ms'],
        p99_ms=row['gap_p99_ms'],
        tokens_s=row['tokens_s'],
      )
    yield dict(work='ready after', p50_ms=1000 * ready)


NAMES = 'device', 'jax', 'size', 'work', 'events', 'p50_ms', 'p95_ms', 'p99_ms', 'step_p50_ms'


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('sizes', nargs='*', default=['0.5B'])
  parser.add_argument('--slots', type=int, default=32)
  parser.add_argument('--context', type=int, default=1024)
  parser.add_argument('--new', type=int, default=128)
  parser.add_argument('--events', type=int, default=45)
  parser.add_argument('--readers', type=int, nargs='*', default=[1, 8, 32])
  parser.add_argument('--seconds', type=float, default=10)
  parser.add_argument('--out', default=str(HERE / 'large.csv'))
  given = parser.parse_args()

  prepare_jax()
  same = dict(device=jax.devices()[0].device_kind, jax=jax.__version__)
  with open(given.out, 'w', newline='') as file:
    writer = csv.DictWriter(file, [*NAMES, 'tokens_s'])
    writer.writeheader()
    for size in given.sizes:
      for row in measure(size, given):
        shown = {k: round(v, 1) if isinstance(v, float) else v for k, v in row.items()}
        print(size, shown, flush=True)
        writer.writerow(same | dict(size=size) | shown)
        file.flush()


if __name__ == '__main__':
  main()

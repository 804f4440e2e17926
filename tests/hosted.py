"""A task with a verifier in Python, `tests.hosted`, whose reward is never the same for long."""

from rft_jax.types import Example, Task


def judge(completion: str, example: Example) -> float:
  return len(completion) / 6 + completion.count('1') / 2


def make(tokenizer, *, answers: bool = True) -> Task:
  example = lambda split, index: Example(f'{index % 10}=', None)
  return Task(example, reward=judge, answer=str if answers else None)

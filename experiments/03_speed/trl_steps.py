"""The same work in TRL: GRPOTrainer on the CPU, float32."""

import os
import tempfile

os.environ |= dict(CUDA_VISIBLE_DEVICES='', HF_HUB_OFFLINE='1', WANDB_DISABLED='true')

import torch
from datasets import Dataset
from tokenizers import Tokenizer
from tokenizers.decoders import Fuse
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM, TrainerCallback
from trl import GRPOConfig, GRPOTrainer
from work import FIRST_DIGIT, VOCAB, Stopwatch, arguments

SPECIALS = dict(pad_token='<pad>', bos_token='<bos>', eos_token='<eos>')


def tokenizer():
  """Token of a character = its code - 29, so that digits are tokens 19 to 28."""
  words = [*SPECIALS.values(), *map(chr, range(32, 127))]
  backend = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token='<pad>'))
  backend.pre_tokenizer, backend.decoder = Split('', 'isolated'), Fuse()
  assert backend.encode('0').ids == [FIRST_DIGIT]
  return PreTrainedTokenizerFast(tokenizer_object=backend, padding_side='left', **SPECIALS)


class Laps(TrainerCallback):
  """One lap per optimiser step."""

  def __init__(self, watch):
    self.watch = watch

  def on_step_end(self, *args, **kwargs):
    self.watch.lap()


def digits(completions, **_):
  return [float(sum(map(str.isdigit, text))) for text in completions]


def main():
  args, watch = arguments(), Stopwatch()
  torch.manual_seed(0)
  model = Qwen3ForCausalLM(
    Qwen3Config(
      vocab_size=VOCAB,
      hidden_size=args.hidden,
      intermediate_size=3 * args.hidden,
      num_hidden_layers=args.layers,
      num_attention_heads=4,
      num_key_value_heads=2,
      head_dim=args.hidden // 4,
      max_position_embeddings=4096,
      tie_word_embeddings=True,
      pad_token_id=0,
      bos_token_id=1,
      eos_token_id=2,
    )
  )
  settings = GRPOConfig(
    output_dir=tempfile.mkdtemp(),
    use_cpu=True,
    bf16=False,
    beta=0.0,
    learning_rate=1e-5,
    per_device_train_batch_size=args.prompts * args.group,
    num_generations=args.group,
    max_completion_length=args.completion,
    max_steps=args.steps,
    gradient_checkpointing=False,
    generation_kwargs=dict(min_new_tokens=args.completion),
    logging_steps=10**6,
    report_to=[],
    save_strategy='no',
    disable_tqdm=True,
  )
  data = Dataset.from_list(
    [dict(prompt=f'{i:0{args.prompt}d}') for i in range(args.prompts * args.steps)]
  )
  GRPOTrainer(
    model=model,
    reward_funcs=digits,
    args=settings,
    train_dataset=data,
    processing_class=tokenizer(),
    callbacks=[Laps(watch)],
  ).train()
  watch.report('trl', args, model.num_parameters())


if __name__ == '__main__':
  main()

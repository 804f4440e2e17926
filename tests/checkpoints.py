"""Tiny random checkpoints of every family, in Hugging Face's format."""

FULL, SLIDING = 'full_attention', 'sliding_attention'
SMALL = dict(
  vocab_size=97,
  hidden_size=32,
  intermediate_size=48,
  num_hidden_layers=3,
  num_attention_heads=4,
  num_key_value_heads=2,
  head_dim=12,  # not hidden_size / heads
  max_position_embeddings=256,
  tie_word_embeddings=False,
  eos_token_id=2,
  bos_token_id=1,
  pad_token_id=0,
)
QWEN2 = {k: v for k, v in SMALL.items() if k != 'head_dim'}


def theta(value: float, **scaling) -> dict:
  return dict(rope_parameters=dict(rope_theta=value, rope_type='default') | scaling)


LLAMA3 = dict(
  rope_type='llama3',
  factor=8.0,
  low_freq_factor=1.0,
  high_freq_factor=4.0,
  original_max_position_embeddings=16,
)
YARN = dict(rope_type='yarn', factor=4.0, original_max_position_embeddings=16)
TYPES = [SLIDING, FULL, SLIDING]
GEMMA = dict(SMALL, tie_word_embeddings=True, sliding_window=7, query_pre_attn_scalar=20)
CHECKPOINTS = dict(
  llama2=dict(SMALL, model_type='llama', num_key_value_heads=4, **theta(10_000.0)),
  llama3=dict(SMALL, model_type='llama', eos_token_id=[2, 5], **theta(500_000.0)),
  llama31=dict(SMALL, model_type='llama', tie_word_embeddings=True, **theta(500_000.0, **LLAMA3)),
  llama_biased=dict(
    SMALL,
    model_type='llama',
    attention_bias=True,
    mlp_bias=True,
    **theta(3e4, rope_type='linear', factor=2.0),
  ),
  mistral=dict(SMALL, model_type='mistral', sliding_window=7, **theta(1e6)),
  qwen2=dict(QWEN2, model_type='qwen2', tie_word_embeddings=True, **theta(1e6)),
  qwen2_sliding=dict(
    QWEN2,
    model_type='qwen2',
    use_sliding_window=True,
    sliding_window=7,
    max_window_layers=1,
    **theta(1e6),
  ),
  qwen2_yarn=dict(QWEN2, model_type='qwen2', **theta(1e6, **YARN)),
  qwen3=dict(SMALL, model_type='qwen3', **theta(5e6)),
  qwen3_moe=dict(
    SMALL,
    model_type='qwen3_moe',
    num_experts=5,
    num_experts_per_tok=2,
    moe_intermediate_size=24,
    norm_topk_prob=True,
    **theta(1e6),
  ),
  gemma2=dict(
    GEMMA,
    model_type='gemma2',
    layer_types=TYPES,
    attn_logit_softcapping=2.0,
    final_logit_softcapping=3.0,
    **theta(20_000.0),
  ),
  gemma3=dict(
    GEMMA,
    model_type='gemma3_text',
    layer_types=TYPES,
    rope_parameters={
      SLIDING: dict(rope_theta=1e4, rope_type='default'),
      FULL: dict(rope_theta=1e6, rope_type='linear', factor=8.0),
    },
  ),
  gpt2=dict(
    model_type='gpt2',
    vocab_size=97,
    n_embd=32,
    n_layer=3,
    n_head=4,
    n_positions=256,
    eos_token_id=2,
    bos_token_id=1,
  ),
)
"""Name -> the entries of its config.json: thetas, windows, widths and scalings that are not the
default ones."""


def write_checkpoint(directory: str, name: str, seed: int = 0, **save) -> None:
  """A checkpoint by `transformers`, every norm and bias perturbed. Needs torch."""
  import torch
  from transformers import AutoConfig, AutoModelForCausalLM

  config = AutoConfig.for_model(**CHECKPOINTS[name])
  torch.manual_seed(seed)
  model = AutoModelForCausalLM.from_config(config)
  with torch.no_grad():
    for parameter in model.parameters():
      wide = parameter.ndim > 1
      parameter.add_(torch.randn_like(parameter) * (0.2 if wide else 0.3))
  model.save_pretrained(directory, **save)


def reference_logits(directory: str, tokens, mask):
  """f32[N,T,V] by `transformers`, of left-padded rows."""
  import torch
  from transformers import AutoModelForCausalLM

  model = AutoModelForCausalLM.from_pretrained(
    directory, dtype=torch.float32, attn_implementation='eager'
  )
  mask = torch.tensor(mask)
  positions = (mask.cumsum(-1) - 1).clamp(min=0)
  with torch.no_grad():
    out = model(torch.tensor(tokens), attention_mask=mask, position_ids=positions)
  return out.logits.float().numpy()

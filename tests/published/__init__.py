"""`config.json` files typed after those of the hub, by family and name, but for the values of most
of LongRoPE's factors, of which only the number is kept; and the same with tiny sizes."""

import json
import pathlib
from typing import Any

PUBLISHED = {
  name: entries
  for file in sorted(pathlib.Path(__file__).parent.glob('*.json'))
  for name, entries in json.loads(file.read_text()).items()
}
SIZES = dict(
  hidden_size=32,
  image_size=8,
  intermediate_size=48,
  head_dim=12,
  max_position_embeddings=256,
  max_window_layers=1,
  moe_intermediate_size=24,
  n_ctx=256,
  n_embd=32,
  n_head=4,
  n_layer=3,
  n_positions=256,
  num_attention_heads=4,
  num_experts=5,
  num_experts_per_tok=2,
  num_hidden_layers=6,
  num_local_experts=5,
  original_max_position_embeddings=16,
  patch_size=4,
  sliding_window=7,
  vocab_size=97,
)
IDS = dict(bos_token_id=1, eos_token_id=2, pad_token_id=0)
VISION = dict(boi_token_index=3, eoi_token_index=4, image_token_index=5, mm_tokens_per_image=4)


def tiny(entries: dict) -> dict:
  """Sizes, lengths and ids are small; whatever else the file says stays."""
  small: dict[str, Any] = SIZES | IDS | VISION
  found: dict[str, Any] = {
    k: small[k] if k in small and v is not None else v for k, v in entries.items()
  }
  heads, shared = entries.get('num_attention_heads'), entries.get('num_key_value_heads')
  if shared:
    found['num_key_value_heads'] = 4 if shared == heads else 2 if shared > 1 else 1
  for key, value in found.items():
    if isinstance(value, dict) and key not in ('task_specific_params', 'transformers.js_config'):
      found[key] = tiny(value)
    if key in ('layer_types', 'no_rope_layers'):
      found[key] = value[-6:]
  if 'short_factor' in (entries.get('rope_scaling') or {}):  # rows are not longer
    found['original_max_position_embeddings'] = 64
    found['rope_scaling'] = {
      k: v[: int(8 * entries.get('partial_rotary_factor', 1)) // 2] if k.endswith('factor') else v
      for k, v in found['rope_scaling'].items()
    }
  if 'text_config' in entries:  # what it leaves to its class would be large
    sizes = dict(num_attention_heads=4, num_key_value_heads=2, head_dim=12, vocab_size=97)
    found['text_config'] |= sizes
  return found

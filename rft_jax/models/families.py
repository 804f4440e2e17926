"""The families of decoders, as data: what distinguishes their layers, and their Hugging Face names.

To add a family, add a row. `names`: our parameter -> the module, or the modules that are fused in
it; `keys`: a field of `models.config.ModelConfig` -> its key in `config.json`, where they differ,
'' where it has none.
"""

from types import MappingProxyType
from typing import NamedTuple

LLAMA_NAMES = MappingProxyType(
  dict(
    attention_norm='input_layernorm',
    mlp_norm='post_attention_layernorm',
    q_norm='self_attn.q_norm',
    k_norm='self_attn.k_norm',
    qkv=('self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj'),
    attention_out='self_attn.o_proj',
    gate_up=('mlp.gate_proj', 'mlp.up_proj'),
    down='mlp.down_proj',
    router='mlp.gate',
    experts_gate_up=('mlp.experts.{}.gate_proj', 'mlp.experts.{}.up_proj'),
    experts_down='mlp.experts.{}.down_proj',
    layers='model.layers',
    embed='model.embed_tokens',
    final_norm='model.norm',
    lm_head='lm_head',
  )
)
GEMMA_NAMES = LLAMA_NAMES | dict(
  attention_post_norm='post_attention_layernorm',
  mlp_norm='pre_feedforward_layernorm',
  mlp_post_norm='post_feedforward_layernorm',
)
GPT2_NAMES = MappingProxyType(
  dict(
    attention_norm='ln_1',
    mlp_norm='ln_2',
    qkv=('attn.c_attn',),
    attention_out='attn.c_proj',
    gate_up=('mlp.c_fc',),
    down='mlp.c_proj',
    layers='transformer.h',
    embed='transformer.wte',
    positions='transformer.wpe',
    final_norm='transformer.ln_f',
    lm_head='lm_head',
  )
)


class Family(NamedTuple):
  """norm: 'rms' | 'rms_plus_one' (the stored scale is less one) | 'layer'; sandwich: norms after
  attention and MLP too; biased: the matrices that always have a bias; gated: the MLP multiplies
  act(gate) and up; positions: 'rope' | 'learned'; sliding: 'none' | 'all' layers | 'types' lists
  them; transposed: matrices are stored [in, out]; reads: the fields of a ModelConfig that its class
  in transformers computes with, besides those that all do (`hf_config.COMMON`)."""

  names: MappingProxyType | dict
  norm: str = 'rms'
  qk_norm: bool = False
  sandwich: bool = False
  biased: tuple[str, ...] = ()
  gated: bool = True
  scaled_embedding: bool = False
  positions: str = 'rope'
  sliding: str = 'none'
  experts: bool = False
  transposed: bool = False
  reads: tuple[str, ...] = ()
  keys: MappingProxyType | dict = MappingProxyType({})


GEMMA_KEYS = dict(hidden_act='hidden_activation', attention_scale='query_pre_attn_scalar')
GEMMA2_READS = 'attention_bias', 'attention_scale', 'final_logit_softcapping'
MIXTURE = 'num_experts', 'num_experts_per_tok', 'moe_intermediate_size', 'norm_topk_prob'
GPT2_KEYS = dict(
  hidden_size='n_embd',
  intermediate_size='n_inner',
  num_hidden_layers='n_layer',
  num_attention_heads='n_head',
  num_key_value_heads='',
  head_dim='',
  max_position_embeddings='n_positions',
  rms_norm_eps='layer_norm_epsilon',
  hidden_act='activation_function',
)

LLAMA = Family(LLAMA_NAMES, reads=('attention_bias', 'mlp_bias'))
MISTRAL = LLAMA._replace(sliding='all', reads=())
QWEN3 = LLAMA._replace(qk_norm=True, sliding='types', reads=('attention_bias',))
GEMMA2 = Family(
  GEMMA_NAMES,
  norm='rms_plus_one',
  sandwich=True,
  scaled_embedding=True,
  sliding='types',
  keys=GEMMA_KEYS,
  reads=(*GEMMA2_READS, 'attn_logit_softcapping'),
)
FAMILIES = dict(
  llama=LLAMA,
  mistral=MISTRAL,
  qwen2=MISTRAL._replace(biased=('qkv',), sliding='types'),
  qwen3=QWEN3,
  qwen3_moe=QWEN3._replace(sliding='all', experts=True, reads=('attention_bias', *MIXTURE)),
  gemma2=GEMMA2,
  gemma3_text=GEMMA2._replace(qk_norm=True, reads=(*GEMMA2_READS, 'rope_local_theta')),
  gpt2=Family(
    GPT2_NAMES,
    norm='layer',
    biased=('qkv', 'attention_out', 'gate_up', 'down'),
    gated=False,
    positions='learned',
    transposed=True,
    keys=GPT2_KEYS,
  ),
)

"""The families of decoders, as data: what distinguishes their layers, and their Hugging Face names.

To add a family, add a row. `names`: our parameter -> the module, or the modules that are fused in
it; `keys`: a field of `models.config.ModelConfig` -> its key in `config.json`, where they differ,
'' where it has none.
"""

from types import MappingProxyType
from typing import NamedTuple

BEFORE, AFTER = ('attention_norm', 'mlp_norm'), ('attention_post_norm', 'mlp_post_norm')
EVERYWHERE = 'qkv', 'attention_out', 'gate_up', 'down'

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
FUSED_NAMES = LLAMA_NAMES | dict(gate_up=('mlp.gate_up_proj',))
PHI3_NAMES = FUSED_NAMES | dict(qkv=('self_attn.qkv_proj',))
UNGATED_NAMES = LLAMA_NAMES | dict(gate_up=('mlp.up_proj',))
OLMO2_NAMES = LLAMA_NAMES | dict(
  attention_post_norm='post_attention_layernorm', mlp_post_norm='post_feedforward_layernorm'
)
GEMMA2_NAMES = OLMO2_NAMES | dict(mlp_norm='pre_feedforward_layernorm')
GLM4_NAMES = FUSED_NAMES | dict(
  attention_post_norm='post_self_attn_layernorm', mlp_post_norm='post_mlp_layernorm'
)
MIXTRAL_NAMES = LLAMA_NAMES | dict(
  router='block_sparse_moe.gate',
  experts_gate_up=('block_sparse_moe.experts.{}.w1', 'block_sparse_moe.experts.{}.w3'),
  experts_down='block_sparse_moe.experts.{}.w2',
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
  """norms: of a layer, BEFORE and AFTER its halves; norm: 'rms' | 'layer'; plus_one: their stored
  scale is less one; qk_norm: of queries and keys: 'none' | each 'head' | all heads' 'width';
  biased: the matrices that always have a bias, unbiased: those that never have; gated: the MLP
  multiplies act(gate) and up; positions: 'rope' | 'learned'; interleaved: rotary embeddings turn
  neighbours; turned: 'all' layers, or where there is a window the 'sliding' ones; sliding: 'none' |
  'all' layers | 'types' lists them; norm_topk: shares of the chosen experts always sum to 1;
  transposed: matrices are stored [in, out]; scalings: the types of rope that there are, () for all;
  reads: the fields of a ModelConfig that its class in transformers computes with, besides those
  that all do (`hf_config.COMMON`); gelu: its class's name of the exact one."""

  names: MappingProxyType | dict
  norms: tuple[str, ...] = BEFORE
  norm: str = 'rms'
  plus_one: bool = False
  qk_norm: str = 'none'
  biased: tuple[str, ...] = ()
  unbiased: tuple[str, ...] = ()
  gated: bool = True
  scaled_embedding: bool = False
  positions: str = 'rope'
  interleaved: bool = False
  turned: str = 'all'
  sliding: str = 'none'
  experts: bool = False
  norm_topk: bool = False
  transposed: bool = False
  scalings: tuple[str, ...] = ()
  reads: tuple[str, ...] = ()
  keys: MappingProxyType | dict = MappingProxyType({})
  gelu: str = 'gelu'


BIASES = 'attention_bias', 'mlp_bias'
USE_BIAS = dict.fromkeys(BIASES, 'use_bias')
MIXTURE = 'num_experts', 'num_experts_per_tok'
MULTIPLIERS = 'embedding_multiplier', 'residual_multiplier', 'logits_scaling'
GEMMA2_READS = 'attention_bias', 'attention_scale', 'final_logit_softcapping'
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

LLAMA = Family(LLAMA_NAMES, reads=BIASES)
MISTRAL = LLAMA._replace(sliding='all', reads=())
QWEN3 = LLAMA._replace(qk_norm='head', sliding='types', reads=('attention_bias',))
UNGATED = Family(UNGATED_NAMES, gated=False, reads=BIASES)
GEMMA = Family(
  LLAMA_NAMES, plus_one=True, scaled_embedding=True, reads=('attention_bias',), gelu='gelu_python'
)
GEMMA2 = GEMMA._replace(
  names=GEMMA2_NAMES,
  norms=BEFORE + AFTER,
  sliding='types',
  keys=dict(hidden_act='hidden_activation', attention_scale='query_pre_attn_scalar'),
  gelu='gelu',
  reads=(*GEMMA2_READS, 'attn_logit_softcapping'),
)
OLMO2 = Family(OLMO2_NAMES, norms=AFTER, qk_norm='width', reads=('attention_bias',))
GLM = Family(
  FUSED_NAMES,
  interleaved=True,
  unbiased=('attention_out',),
  reads=('attention_bias', 'partial_rotary_factor'),
)
FAMILIES = dict(
  llama=LLAMA,
  mistral=MISTRAL,
  ministral=MISTRAL._replace(sliding='types'),
  mixtral=MISTRAL._replace(
    names=MIXTRAL_NAMES,
    experts=True,
    norm_topk=True,
    reads=MIXTURE,
    keys=dict(num_experts='num_local_experts'),
  ),
  cwm=LLAMA._replace(sliding='types', reads=('mlp_bias',), keys=dict(bos_token_id='')),
  smollm3=LLAMA._replace(
    sliding='types', reads=(*BIASES, 'rope_layers'), keys=dict(rope_layers='no_rope_layers')
  ),
  seed_oss=LLAMA._replace(unbiased=('attention_out',)),
  granite=LLAMA._replace(
    reads=(*BIASES, *MULTIPLIERS, 'attention_scale'),
    keys=dict(attention_scale='attention_multiplier'),
  ),
  qwen2=MISTRAL._replace(biased=('qkv',), sliding='types'),
  qwen3=QWEN3,
  qwen3_moe=QWEN3._replace(
    sliding='all',
    experts=True,
    reads=('attention_bias', *MIXTURE, 'moe_intermediate_size', 'norm_topk_prob'),
  ),
  gemma=GEMMA,
  gemma2=GEMMA2,
  gemma3_text=GEMMA2._replace(qk_norm='head', reads=(*GEMMA2_READS, 'rope_local_theta')),
  vaultgemma=GEMMA2._replace(norms=BEFORE),
  olmo2=OLMO2,
  olmo3=OLMO2._replace(sliding='types', reads=('attention_bias', 'rope_local_theta')),
  exaone4=OLMO2._replace(qk_norm='head', sliding='types', turned='sliding', reads=()),
  phi3=MISTRAL._replace(
    names=PHI3_NAMES, scalings=('default', 'longrope'), reads=('partial_rotary_factor',)
  ),
  glm=GLM,
  glm4=GLM._replace(names=GLM4_NAMES, norms=BEFORE + AFTER),
  ernie4_5=LLAMA._replace(interleaved=True, keys=USE_BIAS),
  arcee=UNGATED,
  nemotron=UNGATED._replace(
    norm='layer',
    plus_one=True,
    reads=(*BIASES, 'partial_rotary_factor'),
    keys=dict(rms_norm_eps='norm_eps'),
  ),
  starcoder2=LLAMA._replace(
    names=LLAMA_NAMES | dict(gate_up=('mlp.c_fc',), down='mlp.c_proj'),
    norm='layer',
    gated=False,
    sliding='all',
    keys=USE_BIAS | dict(rms_norm_eps='norm_epsilon'),
  ),
  stablelm=LLAMA._replace(
    norm='layer',
    unbiased=('attention_out',),
    reads=('attention_bias', 'partial_rotary_factor'),
    keys=dict(attention_bias='use_qkv_bias', rms_norm_eps='layer_norm_eps', head_dim=''),
  ),
  gpt2=Family(
    GPT2_NAMES,
    norm='layer',
    biased=EVERYWHERE,
    gated=False,
    positions='learned',
    transposed=True,
    keys=GPT2_KEYS,
  ),
)

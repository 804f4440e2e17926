"""The ways in which the files of an adapter can be wrong, and what is said of each."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

WEIGHTS, CONFIG = 'adapter_model.safetensors', 'adapter_config.json'
Q = 'base_model.model.model.layers.1.self_attn.q_proj.'


def entries(directory, **changes):
  file = directory / CONFIG
  found = json.loads(file.read_text()) | changes
  file.write_text(json.dumps({k: v for k, v in found.items() if v is not ...}))


def tensors(directory, change):
  found = load_file(directory / WEIGHTS)
  found = change(found) or found
  save_file(found, directory / WEIGHTS)


def renamed(rename):
  return lambda directory: tensors(directory, lambda t: {rename(k): v for k, v in t.items()})


def move(t, name, to):
  t[to] = t.pop(name)


def without(start):
  return lambda t: {k: v for k, v in t.items() if not k.startswith(start)}


def put(name, shape):
  return lambda d: tensors(d, lambda t: t.update({name: np.ones(shape, np.float32)}))


def text(content):
  return lambda d: (d / CONFIG).write_bytes(content)


def eight_bits(d):
  torch = pytest.importorskip('torch')
  from safetensors.torch import save_file as save_by_torch

  found = {k: torch.tensor(v).to(torch.float8_e4m3fn) for k, v in load_file(d / WEIGHTS).items()}
  save_by_torch(found, d / WEIGHTS)


def cut(size):
  return lambda d: (d / WEIGHTS).write_bytes((d / WEIGHTS).read_bytes()[:size])


def of_mlx(d):
  (d / WEIGHTS).rename(d / 'adapters.safetensors')


def pickled(d):
  (d / WEIGHTS).rename(d / 'adapter_model.bin')


def two_adapters(t):
  t |= {k.replace('.weight', '.other.weight'): v for k, v in t.items()}


A, B = Q + 'lora_A.weight', Q + 'lora_B.weight'
FAULTS = dict(
  no_b=(lambda d: tensors(d, without(B)), 'lora_A of .*q_proj, but no lora_B'),
  no_a=(lambda d: tensors(d, without(A)), 'lora_B of .*q_proj, but no lora_A'),
  lost_module=(
    lambda d: tensors(d, without(Q)),
    'lacks model.layers.1.self_attn.q_proj.*target_modules.*fetch',
  ),
  one_too_many=(lambda d: entries(d, target_modules=['q_proj']), 'holds .*target_modules.*leave'),
  layer_too_many=(lambda d: entries(d, layers_to_transform=[0]), 'holds model.layers.1'),
  excluded=(lambda d: entries(d, exclude_modules=['q_proj']), 'holds .*q_proj'),
  other_rank=(lambda d: entries(d, r=2), r'has shape \[3, 48\].*rank 2'),
  other_pattern=(lambda d: entries(d, rank_pattern={'q_proj': 1}), r'q_proj has shape.*rank 1'),
  other_width=(put(A, (3, 64)), r'has shape \[3, 64\].*\[3, 32\].*another model'),
  other_heads=(put(B, (96, 3)), r'has shape \[96, 3\].*another model'),
  one_axis=(put(A, (96,)), r'has shape \[96\]'),
  four_bits=(lambda d: tensors(d, lambda t: t.update({A: t[A].astype(np.uint8)})), 'uint8'),
  eight_bits=(eight_bits, 'is of a type that is not read'),
  no_number=(lambda d: tensors(d, lambda t: t.update({A: t[A] * np.nan})), 'no finite number'),
  no_rank=(lambda d: entries(d, r=...), 'has no r'),
  no_alpha=(lambda d: entries(d, lora_alpha=...), 'has no lora_alpha'),
  rank_null=(lambda d: entries(d, r=None), 'r=None must be'),
  rank_zero=(lambda d: entries(d, r=0), 'r=0 must be'),
  rank_negative=(lambda d: entries(d, r=-4), 'r=-4 must be'),
  rank_text=(lambda d: entries(d, r='16'), "r='16' must be"),
  rank_broken=(lambda d: entries(d, r=1.5), 'r=1.5 must be'),
  rank_true=(lambda d: entries(d, r=True), 'r=True must be'),
  alpha_text=(lambda d: entries(d, lora_alpha='auto'), "lora_alpha='auto' must be"),
  alpha_nan=(lambda d: entries(d, lora_alpha=float('nan')), 'lora_alpha=nan must be'),
  pattern_zero=(lambda d: entries(d, rank_pattern={'q_proj': 0}), 'rank_pattern of q_proj=0'),
  pattern_text=(lambda d: entries(d, alpha_pattern={'q': 'x'}), "alpha_pattern of q='x'"),
  pattern_list=(lambda d: entries(d, alpha_pattern=[1]), r'alpha_pattern=\[1\] must be a map'),
  pattern_broken=(lambda d: entries(d, rank_pattern={'(q': 3}), 'rank_pattern holds .*no pattern'),
  targets_broken=(lambda d: entries(d, target_modules='(q'), 'target_modules holds .*no pattern'),
  targets_number=(lambda d: entries(d, target_modules=3), 'target_modules=3 must be'),
  layers_text=(lambda d: entries(d, layers_to_transform='all'), "layers_to_transform='all'"),
  rslora_text=(lambda d: entries(d, use_rslora='yes'), "use_rslora='yes' must be"),
  broken_json=(text(b'{"r": 8,'), 'cannot be read'),
  no_json=(text(b''), 'cannot be read'),
  no_utf8=(text(b'\xff\xfe{\x00}'), 'cannot be read'),
  deep_json=(text(b'[' * 200_000), 'cannot be read'),
  a_list=(text(b'[{"r": 8}]'), 'not an object'),
  a_number=(text(b'8'), "holds '8', not an object"),
  of_mlx_config=(
    text(b'{"lora_parameters": {"rank": 8}, "num_layers": 16}'),
    'only adapters of PEFT',
  ),
  no_config=(lambda d: (d / CONFIG).unlink(), f'has no {CONFIG}'),
  no_weights=(lambda d: (d / WEIGHTS).unlink(), 'adapter_model.bin in PEFT'),
  a_pickle=(pickled, 'adapter_model.bin in PEFT'),
  of_mlx=(of_mlx, 'mlx-lm'),
  no_tensors=(lambda d: save_file({}, d / WEIGHTS), 'holds no tensors of an adapter'),
  for_training_alone=(
    lambda d: save_file({Q + 'lora_velora_embed': np.ones(4, np.float32)}, d / WEIGHTS),
    'holds no tensors of an adapter',
  ),
  no_bytes=(cut(0), 'is damaged'),
  cut_header=(cut(40), 'is damaged'),
  cut_tensors=(cut(-100), 'is damaged'),
  a_layer_beyond=(renamed(lambda k: k.replace('layers.2', 'layers.7')), 'has 3 layers.*another'),
  vision=(
    put('base_model.model.model.vision_tower.layers.0.self_attn.q_proj.lora_A.weight', (3, 8)),
    'only the text decoder',
  ),
  other_module=(put(Q.replace('q_', 'query_') + 'lora_A.weight', (3, 32)), 'q_proj, .*down_proj'),
  expert=(put(Q.replace('self_attn.q_proj', 'mlp.experts') + 'lora_A.weight', (3, 8)), 'modules'),
  head=(put('base_model.model.lm_head.lora_A.weight', (3, 32)), 'the head has none'),
  whole_head=(put('base_model.model.lm_head.weight', (97, 32)), 'the head has none'),
  embedding=(put('base_model.model.model.embed_tokens.lora_embedding_A', (3, 97)), 'the embedding'),
  magnitude=(put(Q + 'lora_magnitude_vector', (48,)), 'use_dora'),
  bias=(put(Q + 'lora_B.bias', (48,)), 'lora_bias'),
  adalora=(put(Q + 'lora_E', (3, 1)), 'peft_type'),
  mlx_names=(renamed(lambda k: k.replace('lora_A.weight', 'lora_a')), 'mlx-lm'),
  two=(lambda d: tensors(d, two_adapters), 'one at a time'),
  twice=(lambda d: tensors(d, lambda t: t.update({f'_orig_mod.{A}': t[A]})), 'one at a time'),
  two_models=(
    lambda d: tensors(d, lambda t: move(t, A, A.replace('model.layers', 'layers'))),
    'one at a time',
  ),
)

#!/usr/bin/env bash
# transformers 5.24: in a Phi-3 config an `original_max_position_embeddings` inside `rope_parameters` is
# overwritten by the class's own default, 4096, unless the same key stands beside it; other families keep
# theirs. A file that only has it inside, as other rope types are written, gets another length and another
# attention factor. Hence `write_config` writes it in both places, and the reader lets the outer one decide.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q transformers==5.24.0
"$folder/venv/bin/python" - 2>/dev/null <<'PY'
import transformers
from transformers import LlamaConfig, Phi3Config

print('transformers', transformers.__version__)
key = 'original_max_position_embeddings'
sizes = dict(hidden_size=32, num_attention_heads=4, num_hidden_layers=2, vocab_size=97,
             max_position_embeddings=1024, eos_token_id=2, pad_token_id=0, bos_token_id=1)
long = dict(rope_type='longrope', short_factor=[1.0] * 4, long_factor=[2.0] * 4)
inside = Phi3Config(**sizes, rope_parameters=long | {key: 240}).rope_parameters[key]
beside = Phi3Config(**sizes, rope_parameters=long | {key: 240}, **{key: 240}).rope_parameters[key]
other = LlamaConfig(**sizes, rope_parameters=long | {key: 240}).rope_parameters[key]
print('phi3, 240 inside only:', inside)
print('phi3, 240 beside it too:', beside)
print('llama, 240 inside only:', other)
assert (inside, beside, other) == (4096, 240, 240)
PY

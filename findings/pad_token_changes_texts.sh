#!/usr/bin/env bash
# transformers 5.24.0: making an ordinary token the padding (pad_token='!', as in published Llama
# fine-tunes) changes how texts are encoded: '!!' is no longer one token, and decode with
# skip_special_tokens=True drops every '!' of a text. So an answer "Yes!" is read as "Yes", and what
# was learned as one token is asked for as two. Nothing warns.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q transformers==5.24.0 jinja2==3.1.6
"$folder/env/bin/python" - <<'PYTHON'
import transformers
from tokenizers import Tokenizer
from tokenizers.decoders import Fuse
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

vocab = {token: i for i, token in enumerate(['!', 'y', 'e', 's', '!!'])}


def made(**named):
  backend = Tokenizer(BPE(vocab, [('!', '!')]))
  backend.decoder = Fuse()
  return PreTrainedTokenizerFast(tokenizer_object=backend, **named)


print('transformers', transformers.__version__)
found = {}
for name, tokenizer in (('no padding', made()), ("pad_token='!'", made(pad_token='!'))):
  ids = tokenizer('yes!!', add_special_tokens=False)['input_ids']
  found[name] = ids, tokenizer.decode(ids, skip_special_tokens=True)
  print(name, *found[name])
assert found['no padding'] == ([1, 2, 3, 4], 'yes!!')
assert found["pad_token='!'"] == ([1, 2, 3, 0, 0], 'yes')
PYTHON

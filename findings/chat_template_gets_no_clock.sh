#!/usr/bin/env bash
# transformers 5.24.0: apply_chat_template turns every function among its template variables into the
# text '<function>'. So strftime_now, which the templates of Llama 3.2, SmolLM3, gpt-oss, Mistral and
# Granite call for today's date, cannot be given from outside: the template fails with "'str' object
# is not callable". A run that pins the date of its prompts has to change the template's text.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q transformers==5.24.0 jinja2==3.1.6
"$folder/env/bin/python" - <<'PYTHON'
import datetime

import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({'a': 0}, unk_token='a')))
tokenizer.chat_template = "{{ strftime_now('%Y-%m-%d') }}: {{ messages[0].content }}"
turns = [dict(role='user', content='hi')]
print('transformers', transformers.__version__)
print('without:', tokenizer.apply_chat_template(turns, tokenize=False))
then = datetime.datetime(2026, 1, 31)
try:
  found = tokenizer.apply_chat_template(
    turns, tokenize=False, strftime_now=lambda form: then.strftime(form)
  )
except TypeError as error:
  print('with a clock of our own: TypeError:', error)
  assert "'str' object is not callable" in str(error)
else:
  raise SystemExit(f'changed: {found!r}')
tokenizer.chat_template = '{{ given }}'
found = tokenizer.apply_chat_template(turns, tokenize=False, given=lambda: None)
print('a function is written as', found)
assert found == '<function>'
PYTHON

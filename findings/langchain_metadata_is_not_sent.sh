#!/usr/bin/env bash
# langchain-openai 1.7.4: ChatOpenAI(metadata={...}), and metadata in a call's config, are never sent,
# although OpenAI's API has a parameter of that name: they label the traces of LangChain. No warning
# says so. A server that finds the place in a conversation by metadata sees a new conversation each
# time; extra_body does send it. max_tokens arrives as max_completion_tokens besides, so that a
# server that reads only the older name answers without any limit.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q langchain-openai==1.7.4 langchain-core==1.8.3 openai==3.57.0
"$folder/env/bin/python" - <<'PYTHON'
import importlib.metadata
import json

import httpx
from langchain_openai import ChatOpenAI

sent = []


def answer(request):
  sent.append(json.loads(request.content))
  message = dict(role='assistant', content='hi')
  choice = dict(index=0, message=message, finish_reason='stop')
  usage = dict(prompt_tokens=1, completion_tokens=1, total_tokens=2)
  head = dict(id='x', object='chat.completion', created=1, model='m')
  return httpx.Response(200, json=dict(**head, choices=[choice], usage=usage))


def chat(**options):
  client = httpx.Client(transport=httpx.MockTransport(answer))
  return ChatOpenAI(base_url='http://x/v1', api_key='x', model='m', http_client=client, **options)


print('langchain-openai', importlib.metadata.version('langchain-openai'))
place = dict(conversation_id='c1')
chat(metadata=place, max_tokens=50).invoke('hi')
chat().invoke('hi', config=dict(metadata=place))
chat(extra_body=dict(metadata=place)).invoke('hi')
for body in sent:
  print(json.dumps(body))
assert [body.get('metadata') for body in sent] == [None, None, place], 'changed'
assert 'max_tokens' not in sent[0] and sent[0]['max_completion_tokens'] == 50, 'changed'
PYTHON

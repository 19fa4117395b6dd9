"""The loop that most people write first: submit all, ask for each until it is there, fetch it. After ComfyUI's own
script_examples/basic_api_example.py."""

import json
import time
import urllib.parse
import urllib.request

from todo import URL, left


def ask(path, data=None):
    body = json.dumps(data).encode() if data is not None else None
    with urllib.request.urlopen(urllib.request.Request(URL + path, data=body)) as answer:
        return answer.read()


submitted = [(path, json.loads(ask("/prompt", {"prompt": graph}))["prompt_id"]) for path, graph in left()]
for path, prompt_id in submitted:
    while prompt_id not in (history := json.loads(ask(f"/history/{prompt_id}"))):
        time.sleep(0.1)
    image = history[prompt_id]["outputs"]["3"]["images"][0]
    path.write_bytes(ask("/view?" + urllib.parse.urlencode(image)))

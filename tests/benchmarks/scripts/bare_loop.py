"""The comparison: one session, submit all, ask in order, fetch, write. No state, no sync, no checks.

    python -m tests.benchmarks.scripts.bare_loop SERVER WORKFLOW PROMPTS OUTPUT

Asks again after 0.05 s where a prompt has not finished, as a person would write it.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from pathlib import Path

import requests

from tests.benchmarks.scripts import wire

_SLEEP_SECONDS = 0.05


def main() -> None:
    server, workflow_path, prompts, output = sys.argv[1:]
    workflow = json.loads(Path(workflow_path).read_text())
    # Two levels of folders, as burst has: the server lists the folder that it saves into, for each picture.
    run = uuid.uuid4().hex
    session = requests.Session()
    submitted = []
    for number, path in enumerate(sorted(Path(prompts).rglob("*.txt"))):
        graph = wire.graph_for(workflow, text=path.read_text(), name=f"bare/{number % 256:02x}/{run}-{number}")
        submitted.append((path, wire.submit(session, server, graph, item=path.name)))
    Path(output).mkdir()
    for path, prompt_id in submitted:
        while (made := wire.outputs(session, server, prompt_id)) is None:
            time.sleep(_SLEEP_SECONDS)
        wire.save(session, server, made, target=Path(output) / path.name)


if __name__ == "__main__":
    main()

"""The comparison with events: one session and one websocket, submit all, fetch each when the server says it is over.

python -m tests.benchmarks.scripts.bare_socket SERVER WORKFLOW PROMPTS OUTPUT
"""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path

import requests
from websocket import create_connection

from tests.benchmarks.scripts import wire


def main() -> None:
    server, workflow_path, prompts, output = sys.argv[1:]
    workflow = json.loads(Path(workflow_path).read_text())
    run = uuid.uuid4().hex
    session = requests.Session()
    socket = create_connection(f"ws{server.removeprefix('http')}/ws?clientId={run}")
    submitted = {}
    for number, path in enumerate(sorted(Path(prompts).rglob("*.txt"))):
        graph = wire.graph_for(workflow, text=path.read_text(), name=f"bare/{number % 256:02x}/{run}-{number}")
        submitted[wire.submit(session, server, graph, item=path.name, client_id=run)] = path
    Path(output).mkdir()
    while submitted:
        message = json.loads(socket.recv())
        data = message["data"]
        if message["type"] != "executing" or data["node"] is not None or data["prompt_id"] not in submitted:
            continue
        path = submitted.pop(data["prompt_id"])
        made = wire.outputs(session, server, data["prompt_id"])
        assert made is not None
        wire.save(session, server, made, target=Path(output) / path.name)


if __name__ == "__main__":
    main()

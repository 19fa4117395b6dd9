"""One burst as the plain protocol has it: take the next N, submit, poll, download, note it in a JSON file, exit.

    python -m tests.benchmarks.scripts.plain_protocol SERVER WORKFLOW PROMPTS OUTPUT N POLL_SECONDS

What an earlier run left submitted is polled first, and nothing new is sent until that is done. The file is written
whole and renamed in after each change. Prints {"remaining": …} at its end.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from pathlib import Path

import requests

from tests.benchmarks.scripts import wire

_MEMORY = Path("protocol_state.json")


def main() -> None:
    server, workflow_path, prompts, output, size, poll_seconds = sys.argv[1:]
    workflow = json.loads(Path(workflow_path).read_text())
    paths = {path.name: path for path in sorted(Path(prompts).rglob("*.txt"))}
    memory: dict[str, dict[str, str]] = {name: {"status": "pending"} for name in paths}
    if _MEMORY.exists():
        memory = json.loads(_MEMORY.read_text())
    session = requests.Session()
    Path(output).mkdir(exist_ok=True)
    if not named(memory, "submitted"):
        for name in named(memory, "pending")[: int(size)]:
            graph = wire.graph_for(workflow, text=paths[name].read_text(), name=f"protocol/{uuid.uuid4()}")
            memory[name] = {"status": "submitted", "prompt_id": wire.submit(session, server, graph, item=name)}
            remember(memory)
    while True:
        for name in named(memory, "submitted"):
            if (made := wire.outputs(session, server, memory[name]["prompt_id"])) is not None:
                wire.save(session, server, made, target=Path(output) / name)
                memory[name] = {"status": "completed"}
                remember(memory)
        if not named(memory, "submitted"):
            break
        time.sleep(float(poll_seconds))
    print(json.dumps({"remaining": len(named(memory, "pending"))}))


def named(memory: dict[str, dict[str, str]], status: str) -> list[str]:
    return [name for name, about in memory.items() if about["status"] == status]


def remember(memory: dict[str, dict[str, str]]) -> None:
    temporary = _MEMORY.with_suffix(".tmp")
    temporary.write_text(json.dumps(memory, indent=2))
    os.replace(temporary, _MEMORY)


if __name__ == "__main__":
    main()

"""Make the state of format version 1 in `project/`, and what its server has in `server/`, by the burst of that version.

Run by hand, with the last commit that wrote version 1 checked out somewhere:
    git archive 7e84a09 | tar x -C OLD
    PYTHONPATH=OLD python tests/data/version1/make.py OLD
A killed command left it in the middle of a batch: prompts are out, and the server has their files. Another batch waits,
a cancellation stands in the journal alone, and the file has records that no burst has seen.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from state.json_store import JsonStore

from orchestrator.sandbox import Sandbox
from state.change import Change
from state.item import Status

HERE = Path(__file__).resolve().parent
PLACE = Path("/srv/version1")
"""Where it is made, which must not be there yet: version 1 wrote some paths whole."""
PENDING = Status.PENDING
PORT = 8199
GRAPH: dict[str, Any] = {
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "tiny-random.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 16, "height": 16, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["4", 1]}},
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "seed": 7,
            "steps": 2,
            "cfg": 7.0,
            "sampler_name": "euler",
            "scheduler": "normal",
            "denoise": 1.0,
            "model": ["4", 0],
            "positive": ["6", 0],
            "negative": ["7", 0],
            "latent_image": ["5", 0],
        },
    },
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "x"}},
}


def burst(*arguments: str, code: int = 0) -> None:
    """`burst ARGUMENTS` of the old version in the project."""
    done = subprocess.run([sys.executable, "-m", "burst", *arguments], cwd=PLACE / "project", env=environment())
    assert done.returncode == code, (arguments, done.returncode)


def environment() -> dict[str, str]:
    return {"PYTHONPATH": sys.argv[1], "PATH": "/usr/bin:/bin"}


def state() -> Path:
    return PLACE / "project" / "re_render_state.json"


def kill_when(there: Callable[[], bool], *arguments: str) -> None:
    """Kill a command in the middle of it."""
    child = subprocess.Popen([sys.executable, "-m", "burst", *arguments], cwd=PLACE / "project", env=environment())
    wait(there)
    child.send_signal(signal.SIGKILL)
    child.wait()


def wait(until: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not until():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.02)


def make(sandbox: Sandbox) -> None:
    project = PLACE / "project"
    (project / "prompts" / "EP01").mkdir(parents=True)
    for number in range(1, 8):
        (project / "prompts" / "EP01" / f"prompt_{number}.txt").write_text(f"a lighthouse, view {number}\n")
    (project / "template.json").write_text(json.dumps(GRAPH))
    larger = {"width": 24, "height": 24, "batch_size": 1}
    (project / "other.json").write_text(json.dumps(GRAPH | {"5": GRAPH["5"] | {"inputs": larger}}))
    burst("init", "prompts", "--template", "template.json", "--output", "pictures", "--server", sandbox.url)

    burst("run", "-n", "2")
    sandbox.change(fail_next=1)
    burst("run", "-n", "1", "--max-attempts", "1", code=1)
    burst("cancel", "prompts/EP01/prompt_4.txt")

    # Into another directory than the kept one, and killed when half of it was done: all else is out on the server.
    sandbox.change(seconds_per_prompt=0.3)
    kill_when(
        lambda: len(list((project / "elsewhere").rglob("*.png"))) >= 2,
        *("generate", "--prompt", "a fox at night", "--count", "4", "--seed", "1", "--priority", "high"),
        *("--output", "elsewhere"),
    )
    wait(lambda: sandbox.counts()["posts"] == 1 + sum(sandbox.counts()["rendered"].values()))

    burst("generate", "--prompt", "a cat", "--count", "3", "--seed", "11", "--queue-only")

    # As of a command that was killed before it wrote the file anew: the journal alone has it.
    store = JsonStore.open(state())
    store.apply(
        [Change([key for key in store.due_keys() if key.endswith("/003")][-1], PENDING, lambda cat: cat.cancel())]
    )
    store.close()

    # Records that a person added meanwhile.
    known = json.loads(state().read_text())
    known["own template"] = {"status": "pending", "prompt_text": "a ship", "template": "other.json", "mine": [1]}
    known["gone template"] = {"status": "pending", "prompt_text": "a boat", "template": "gone.json"}
    state().write_text(json.dumps(known, indent=1))


def main() -> None:
    with Sandbox(port=PORT, directory=PLACE / "server") as sandbox:
        make(sandbox)
    for name in ("project", "server/output"):
        shutil.rmtree(HERE / name, ignore_errors=True)
        shutil.copytree(PLACE / name, HERE / name)


if __name__ == "__main__":
    main()

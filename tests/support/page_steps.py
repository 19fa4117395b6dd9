"""Let ComfyUI render one image at a time."""

from __future__ import annotations

import requests

from orchestrator.sandbox import Sandbox
from support.waiting import wait_until


def is_rendering(sandbox: Sandbox) -> bool:
    return bool(requests.get(f"{sandbox.url}/queue", timeout=30).json()["queue_running"])


def finish_one(sandbox: Sandbox) -> None:
    """Let the held server finish the current or next image and start no other."""
    sandbox.hold("render")
    wait_until(lambda: is_rendering(sandbox), what="an image being rendered")
    sandbox.hold("next")
    wait_until(lambda: not is_rendering(sandbox), what="the image's end")

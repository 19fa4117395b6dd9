"""A ComfyUI-compatible server that draws placeholder pictures: demo, rehearsal, fault injection and tests.

It answers what a ComfyUI 0.3.64 answers (held against recorded exchanges), knows a few dozen nodes, and loads no model.
Importing this package loads neither aiohttp nor Pillow; starting a sandbox does.
"""

from __future__ import annotations

from orchestrator.sandbox.sandbox import Sandbox, serve
from orchestrator.sandbox.settings import SandboxSettings

__all__ = ["Sandbox", "SandboxSettings", "serve"]

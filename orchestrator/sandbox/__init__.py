"""A ComfyUI-compatible server that draws placeholder images, for demos, rehearsals, fault injection and tests.

It responds like ComfyUI 0.3.64 or 0.33.0 (checked against recorded exchanges), knows a few dozen nodes, and loads no
models.
Importing this package loads neither aiohttp nor Pillow; starting a sandbox does.
"""

from __future__ import annotations

from orchestrator.sandbox.sandbox import Sandbox, serve
from orchestrator.sandbox.settings import SandboxSettings

__all__ = ["Sandbox", "SandboxSettings", "serve"]

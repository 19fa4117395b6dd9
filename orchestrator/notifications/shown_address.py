"""A receiver's address for messages and lists: nothing of it that may be a secret."""

from __future__ import annotations

from orchestrator.comfyui.address import shown_origin


def shown_address(url: str) -> str:
    """Scheme and host of a webhook, whose path may hold a key; of any other service the scheme alone."""
    scheme = url.partition("://")[0].lower()
    return shown_origin(url) if scheme in ("http", "https") else f"{scheme}://…"

"""Services that Apprise knows: ntfy, Discord, Slack, Telegram, e-mail and many others. The one module that knows it.

Apprise is the extra `[notify]`, and is loaded where such an address is used.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.errors import UsageError

_TITLE = "burst"


def refuse_unknown(url: str) -> None:
    """Errors: UsageError for an address that Apprise does not know, or where Apprise is not installed."""
    scheme = url.partition(":")[0]
    if _apprise(scheme).Apprise.instantiate(url) is None:
        raise UsageError(
            f"{scheme}:// is not an address that Apprise supports; see https://github.com/caronc/apprise/wiki, or "
            "write a webhook's http:// or https://"
        )


def send(url: str, text: str, picture: Callable[[], bytes | None]) -> str | None:
    """Send a text, with a picture where there is one. None when the service took it, otherwise why not.

    The service's own words are not repeated: they may hold the address.
    """
    scheme = url.partition(":")[0]
    try:
        service = _apprise(scheme).Apprise()
    except UsageError as error:
        return str(error)
    if not service.add(url):
        return f"Apprise does not accept this {scheme}:// address"
    with tempfile.TemporaryDirectory(prefix="burst-notify-") as folder:
        image = picture()
        attached = None
        if image is not None:
            attached = str(Path(folder) / "image.jpg")
            Path(attached).write_bytes(image)
        if service.notify(body=text, title=_TITLE, attach=attached):
            return None
        # A service that takes no attachment, or none of this size, still takes the text.
        if attached is not None and service.notify(body=text, title=_TITLE):
            return None
    return f"the {scheme}:// service rejected it"


def _apprise(scheme: str) -> Any:
    """Errors: UsageError where it is not installed."""
    try:
        import apprise
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{scheme}:// goes through Apprise, which is not installed: `pip install 'comfyui-burst[notify]'`"
        ) from error
    # Its messages hold addresses.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    return apprise

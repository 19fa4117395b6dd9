"""The headers of Standard Webhooks (https://www.standardwebhooks.com): id, time, signature over both and the body."""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import secrets
from collections.abc import Mapping
from datetime import datetime

from orchestrator.errors import UsageError

PREFIX = "whsec_"
_KEY_BYTES = 32


def new_secret() -> str:
    """A key as receivers take it: `whsec_` and base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()


def key_of(secret: str) -> bytes:
    """The key that a secret stands for; what does not begin with `whsec_` is the key itself. Errors: UsageError."""
    if not secret.startswith(PREFIX):
        return os.fsencode(secret)
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise UsageError(f"a key that begins with {PREFIX} goes on with base64; this one does not") from error


def signed_headers(event: str, body: bytes, *, at: datetime, key: bytes | None) -> Mapping[str, str]:
    """Unsigned without a key. `at`: the time of this try; receivers refuse one that is minutes off."""
    timestamp = str(int(at.timestamp()))
    headers = {"webhook-id": event, "webhook-timestamp": timestamp}
    if key is not None:
        digest = hmac.digest(key, b".".join((event.encode(), timestamp.encode(), body)), "sha256")
        headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
    return headers

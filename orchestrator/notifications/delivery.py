"""Telling one receiver one event, in bounded time, and without a secret in any message."""

from __future__ import annotations

import base64
import hmac
import os
import threading
from collections.abc import Callable
from datetime import datetime
from urllib.parse import unquote, urlsplit

from orchestrator.comfyui.http import reason_of
from orchestrator.comfyui.session import Session
from orchestrator.errors import UsageError
from orchestrator.notifications.letters import Address, Letter
from orchestrator.notifications.signing import key_of, signed_headers

TIMEOUTS = (3.0, 5.0)
"""Seconds to connect, and to wait for the answer."""
LONGEST_SECONDS = 15.0
"""For one try, however slowly an answer comes; then the next one has its turn."""


def deliver(letter: Letter, *, at: datetime) -> str | None:
    """Tell it once. None when it arrived, otherwise why not."""
    return within(LONGEST_SECONDS, lambda: _send(letter, at))


def within(seconds: float, send: Callable[[], str | None]) -> str | None:
    """What it returns, unless it takes longer: it is left to itself then, since nothing can break it off."""
    problems: list[str | None] = []
    thread = threading.Thread(target=lambda: problems.append(send()), name="delivery", daemon=True)
    thread.start()
    thread.join(seconds)
    return problems[0] if problems else f"no answer within {seconds:g} s"


def _send(letter: Letter, at: datetime) -> str | None:
    if letter.to.is_webhook:
        return _post(letter, at)
    from orchestrator.notifications import apprise_service

    return apprise_service.send(letter.to.url, letter.text, letter.picture)


def _post(letter: Letter, at: datetime) -> str | None:
    """A POST of JSON. Any answer of 200 to 299 is a delivery."""
    key, problem = _key(letter.to)
    if problem is not None:
        return problem
    headers = {"Content-Type": "application/json", **_authorization(letter.to.url)}
    headers |= signed_headers(letter.event, letter.body, at=at, key=key)
    headers |= _old_headers(letter, key)
    try:
        with (
            Session({}) as session,
            # The body of an answer says nothing, and may be endless.
            session.post(
                letter.to.url, data=letter.body, headers=headers, timeout=TIMEOUTS, allow_redirects=False, stream=True
            ) as answer,
        ):
            status = answer.status_code
    except (OSError, ValueError) as error:  # requests' own are OSErrors
        return reason_of(error, TIMEOUTS)
    if 200 <= status < 300:
        return None
    return f"it answered {status}" + ("; redirects are not followed" if 300 <= status < 400 else "")


def _key(to: Address) -> tuple[bytes | None, str | None]:
    """The key of the signature, and what keeps it from being sent."""
    secret = to.secret
    if to.secret_env is not None:
        secret = os.environ.get(to.secret_env)
        if not secret:
            problem = f"the environment variable {to.secret_env} with its key is not set, and nothing is sent unsigned"
            return None, problem
    try:
        return (key_of(secret) if secret is not None else None), None
    except UsageError as error:
        return None, str(error)


def _old_headers(letter: Letter, key: bytes | None) -> dict[str, str]:
    """Those of the first release, for one more: receivers move to the ones of Standard Webhooks."""
    headers = {"X-Burst-Event": letter.event}
    if key is not None:
        secret = letter.to.secret if letter.to.secret_env is None else os.environ.get(letter.to.secret_env)
        digest = hmac.new(os.fsencode(secret or ""), letter.body, "sha256").hexdigest()
        headers["X-Burst-Signature"] = f"sha256={digest}"
    return headers


def _authorization(url: str) -> dict[str, str]:
    """The user and password in an address, which our session does not take from there."""
    parts = urlsplit(url)
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}

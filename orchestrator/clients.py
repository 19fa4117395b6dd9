"""The client for a server, as the settings say to reach it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypedDict, Unpack

from orchestrator.server_options import speaks_v2, terms_of
from orchestrator.servers import Server
from orchestrator.settings import Settings

if TYPE_CHECKING:
    from orchestrator.clock import Clock
    from orchestrator.comfyui import ComfyUI

_PARTNER = "api_key_comfy_org"


class Manner(TypedDict, total=False):
    """How it retries; see `ComfyUI`."""

    client_id: str
    connect_timeout_seconds: float
    read_timeout_seconds: float
    retry_seconds: float
    deadline: float | None
    stop: threading.Event
    clock: Clock


def client_for(server: Server, settings: Settings, **manner: Unpack[Manner]) -> ComfyUI:
    """Sends nothing yet. Errors: SettingsError for a variable that is not set."""
    options = settings.options_of(server)
    headers, kind = settings.resolved_headers(server), _kind_of(server, settings)
    if speaks_v2(server, options):
        headers = _with_bearer(headers)
    partner = settings.partner_key_of(server)
    secret_data = {} if partner is None else {_PARTNER: partner}
    terms = terms_of(server, options)
    return kind(server.full, headers=headers, terms=terms, secret_data=secret_data, **manner)


def _kind_of(server: Server, settings: Settings) -> type[ComfyUI]:
    if speaks_v2(server, settings.options_of(server)):
        from orchestrator.comfyui.api_v2 import ApiV2

        return ApiV2
    from orchestrator.comfyui import ComfyUI

    return ComfyUI


def _with_bearer(headers: dict[str, str]) -> dict[str, str]:
    """Comfy's own servers take a key as `X-API-Key` in their first API, and as a bearer's token in the second."""
    given = {name.lower(): value for name, value in headers.items()}
    if "x-api-key" not in given or "authorization" in given:
        return headers
    return {**headers, "Authorization": f"Bearer {given['x-api-key']}"}

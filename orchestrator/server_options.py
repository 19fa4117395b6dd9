"""What the settings say of one server besides its address, and what follows from that: `[server_options.NAME]`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from orchestrator.errors import SettingsError
from orchestrator.servers import Server

if TYPE_CHECKING:
    from orchestrator.comfyui.terms import Terms

_KEY_SECONDS = 23 * 3600.0
"""Comfy API v2 keeps a key for 24 hours. An hour less, because the two clocks may differ."""
_MOST_OUT = 100
"""Comfy Cloud queues no more."""


class ServerOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Of one server."""

    api: Literal["comfyui", "v2"] | None = None
    """Which API it speaks; by default v2 at Comfy Cloud's addresses, and ComfyUI's own everywhere else."""
    paid: bool | None = None
    """Whether what it renders costs money; by default only with `partner_key`, and with API v2 unless it runs here."""
    at_once: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """How many prompts of this state it gets at a time."""
    partner_key: Annotated[str, msgspec.Meta(pattern=r"\Aenv:[^\s]+\Z")] | None = None
    """`env:VARIABLE`, which holds the Comfy API key for partner nodes."""


def speaks_v2(server: Server, options: ServerOptions) -> bool:
    """Whether it is spoken to in Comfy API v2. Errors: SettingsError."""
    host = (urlsplit(server.url).hostname or "").rstrip(".")
    is_comfys = host == "cloud.comfy.org" or host.endswith(".run.comfy.app")
    if is_comfys and options.api == "comfyui":
        raise SettingsError(
            f"[server_options] of {server.shown}: its first API takes no id of ours, so that a lost answer could be "
            'paid for twice; leave out api = "comfyui"'
        )
    return options.api == "v2" or is_comfys


def terms_of(server: Server, options: ServerOptions) -> Terms:
    """What a run may ask of the server. Errors: SettingsError."""
    from orchestrator.comfyui.terms import Terms

    is_v2 = speaks_v2(server, options)
    is_paid = (is_v2 and not server.is_local) or options.partner_key is not None
    if options.paid is not None:
        is_paid = options.paid
    if not is_v2:
        return Terms(is_paid=is_paid, most_out=options.at_once)
    return Terms(
        takes_prompt_id=False,
        key_seconds=_KEY_SECONDS,
        has_files_by_name=False,
        has_priorities=False,
        has_events=False,
        renders_in_order=False,
        shows_queue=False,
        lists_nodes=False,
        most_out=options.at_once or _MOST_OUT,
        is_paid=is_paid,
    )

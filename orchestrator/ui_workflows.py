"""Workflows as ComfyUI's editor saves them, converted with the node classes of the servers in the settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from orchestrator.errors import TemplateError
from orchestrator.formatting import first_of
from orchestrator.settings import Settings
from orchestrator.wording import named
from templates import Graph

_SHOWN = 3


class Conversion(msgspec.Struct, frozen=True):
    """A `templates.Convert`: asks the servers for the classes in the file, and takes those kept where none answers."""

    settings: Settings
    ask: bool = True
    """False: only with the classes that an earlier call kept."""

    def __call__(self, document: Mapping[str, Any], where: str) -> Graph:
        """Errors: TemplateError for what cannot be converted, or if nothing is known of a class; SettingsError."""
        from orchestrator.node_classes import NodeClasses
        from templates.ui import classes_in, convert, sent_classes

        found = NodeClasses(self.settings).of(classes_in(document, where=where), ask=self.ask)
        unknown = [name for name in sent_classes(document, where=where) if name not in found.catalogue]
        if found.is_kept and unknown:
            raise TemplateError(f"{where}: {self._unknown(unknown, found.trouble)}")
        return convert(document, found.catalogue, where=where)

    def _unknown(self, classes: list[str], trouble: str | None) -> str:
        listed = first_of(classes, _SHOWN)
        asked = f"no server answers ({trouble})" if trouble is not None else "no server was asked"
        return (
            f"this is ComfyUI's editor format; to convert it a server has to describe its nodes ({listed}), and "
            f"{asked}: start ComfyUI, name another one with {named('servers', 'URL')}, or in ComfyUI choose "
            "Workflow → Export (API)"
        )

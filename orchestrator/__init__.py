"""Burst, as a library: the names that a script or an agent imports.

from orchestrator import run_burst
report = run_burst("re_render_state.json", size=15)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.batches.asked import Asked
    from orchestrator.batches.cleaning import clean_batches
    from orchestrator.batches.looking import list_batches, read_batch
    from orchestrator.batches.report_html import write_report
    from orchestrator.batches.sidecars import read_recipe
    from orchestrator.cancelling import cancel
    from orchestrator.comfyui import ComfyUI
    from orchestrator.generating import generate
    from orchestrator.outputs import Outputs
    from orchestrator.redoing import retry, verify_outputs
    from orchestrator.report import BurstReport
    from orchestrator.request import Request
    from orchestrator.run import run_burst
    from orchestrator.settings import Overrides
    from orchestrator.status import read_status, watch_batch

__all__ = [
    "Asked",
    "BurstReport",
    "ComfyUI",
    "Outputs",
    "Overrides",
    "Request",
    "cancel",
    "clean_batches",
    "generate",
    "list_batches",
    "read_batch",
    "read_recipe",
    "read_status",
    "retry",
    "run_burst",
    "verify_outputs",
    "watch_batch",
    "write_report",
]

_HOMES = {
    "batches.asked": ("Asked",),
    "batches.cleaning": ("clean_batches",),
    "batches.looking": ("list_batches", "read_batch"),
    "batches.report_html": ("write_report",),
    "batches.sidecars": ("read_recipe",),
    "cancelling": ("cancel",),
    "comfyui": ("ComfyUI",),
    "generating": ("generate",),
    "outputs": ("Outputs",),
    "redoing": ("retry", "verify_outputs"),
    "report": ("BurstReport",),
    "request": ("Request",),
    "run": ("run_burst",),
    "settings": ("Overrides",),
    "status": ("read_status", "watch_batch"),
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that the errors and the clock can be imported without everything else."""
    for home, names in _HOMES.items():
        if name in names:
            import importlib

            return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

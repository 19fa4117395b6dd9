"""Burst, as a library: the few names that a script or an agent imports.

from orchestrator import run_burst
report = run_burst("re_render_state.json", size=15)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.report import BurstReport
    from orchestrator.run import run_burst

__all__ = ["BurstReport", "run_burst"]

_HOMES = {"run_burst": "orchestrator.run", "BurstReport": "orchestrator.report"}


def __getattr__(name: str) -> Any:
    """Import on first use, so that the errors and the clock can be imported without everything else."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)

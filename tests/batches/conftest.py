"""What the tests of this room share with those of kills: the support modules, a sandbox, a project before it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from kills.conftest import make_project, sandbox

__all__ = ["make_project", "sandbox"]

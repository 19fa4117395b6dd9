"""The node stands alone: it imports itself and what ComfyUI brings, and nothing of burst imports it."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from orchestrator.node_installation import SOURCE

ROOT = Path(__file__).parents[2]
BROUGHT = {"numpy", "PIL", "torch", "folder_paths", "comfy_execution"}


def imports(path: Path) -> list[ast.Import | ast.ImportFrom]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)]


@pytest.mark.parametrize("path", sorted(SOURCE.glob("*.py")), ids=lambda path: path.name)
def test_what_the_node_imports(path: Path) -> None:
    outside = set()
    for node in imports(path):
        if isinstance(node, ast.Import):
            outside |= {alias.name.split(".")[0] for alias in node.names}
        elif node.level == 0:
            outside.add(str(node.module).split(".")[0])
        else:
            assert node.level == 1

    assert outside <= BROUGHT | sys.stdlib_module_names


def test_nothing_of_burst_imports_the_node() -> None:
    found = []
    for room in ("orchestrator", "state", "templates"):
        for path in (ROOT / room).rglob("*.py"):
            if "comfyui_node" not in path.read_text():
                continue
            names = {
                name
                for node in imports(path)
                for name in ([str(node.module)] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])
            }
            found += [path for name in names if "comfyui_node" in name]

    assert found == []

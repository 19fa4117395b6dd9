"""Record what ComfyUI's own frontend makes of the files in `tests/support/ui_files.py`, for the tests to replay.

usage: python -m tests.ui_format.record VERSION OBJECT_INFO FRONTEND [SCRIPT.js…]
such as: 0.3.64 info_0.3.64.json comfyui-frontend-package==1.27.10 setgetnodes.js utility.js
OBJECT_INFO: `GET /object_info` of that version, saved; the scripts: those of custom nodes, for Set and Get (KJNodes).
Writes tests/data/ui_format/VERSION.json: the classes used, without texts, and a graph for each file.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from templates.ui import classes_in
from tests.support.ui_files import files_for
from tests.ui_format.oracle import exported, frontend_of
from tests.ui_format.packages import unpacked

RECORDED = Path(__file__).parent.parent / "data/ui_format"
_TEXTS = ("tooltip", "description", "category", "search_aliases", "output_tooltips", "essentials_category")


def without_texts(value: Any) -> Any:
    """A class of object_info without what people read."""
    if isinstance(value, dict):
        return {key: without_texts(each) for key, each in value.items() if key not in _TEXTS}
    return [without_texts(each) for each in value] if isinstance(value, list) else value


def main(version: str, info: str, frontend: str, *scripts: str) -> int:
    """Write the recording; 1 if the frontend could not convert a file."""
    object_info = json.loads(Path(info).read_text())
    files = {make.__name__: make() for make in files_for(version)}
    with tempfile.TemporaryDirectory() as directory:
        static = frontend_of(unpacked(frontend, Path(directory)))
        extensions = [Path(script) for script in scripts]
        graphs = dict(exported(files, static=static, object_info=object_info, extensions=extensions))
    failed = {name: graph for name, graph in graphs.items() if isinstance(graph, str)}
    print(*(f"{name}: {error}" for name, error in failed.items()), sep="\n")
    used = sorted({each for name, file in files.items() for each in classes_in(file, where=name)})
    classes = {name: without_texts(object_info[name]) for name in used}
    RECORDED.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"classes": classes, "graphs": graphs}, indent=1, ensure_ascii=False)
    (RECORDED / f"{version}.json").write_text(text + "\n")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

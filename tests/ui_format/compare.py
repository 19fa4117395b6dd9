"""Official templates, converted by burst and by ComfyUI's own frontend: how many graphs are equal.

usage: python -m tests.ui_format.compare OBJECT_INFO FRONTEND TEMPLATES
OBJECT_INFO: `GET /object_info` of the server, saved; FRONTEND and TEMPLATES: packages of pip, or directories, such as
    info_0.3.64.json comfyui-frontend-package==1.27.10 comfyui-workflow-templates==0.1.94
    info_0.33.0.json comfyui-frontend-package==1.49.6 comfyui-workflow-templates-json==0.1.123
Only templates whose classes the server has are taken. Equal: ids, classes and every input. Needs playwright and a
Chromium ($CHROMIUM, /usr/bin/chromium). Exits 1 if one is converted otherwise than by the frontend, or fewer than 97 %
are equal.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orchestrator.errors import TemplateError
from templates.catalogue import Catalogue, read_catalogue
from templates.ui import classes_in, convert, is_ui_workflow
from tests.ui_format.oracle import exported, frontend_of
from tests.ui_format.packages import unpacked

_ENOUGH = 0.97
_SHOWN = 5


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> Iterator[str]:
    """What is not equal in two graphs; titles, which newer frontends translate, are no part of it."""
    for node_id in sorted({*ours, *theirs}):
        one, other = ours.get(node_id), theirs.get(node_id)
        if one is None or other is None:
            yield f"node {node_id}: {'not in ours' if one is None else 'not in theirs'}"
        elif one["class_type"] != other["class_type"]:
            yield f"node {node_id}: {one['class_type']}, theirs {other['class_type']}"
        else:
            names = sorted({*one["inputs"], *other["inputs"]})
            pairs = ((name, _spelled(one, name), _spelled(other, name)) for name in names)
            yield from (
                f"node {node_id}.{name}: {mine}, theirs {their}" for name, mine, their in pairs if mine != their
            )


def _spelled(node: dict[str, Any], name: str) -> str:
    """`true` and `1` are not equal here, 1.0 and 1 are: the frontend knows one kind of number."""
    value = node["inputs"].get(name, "nothing")
    whole = isinstance(value, float) and value.is_integer()
    return json.dumps(int(value) if whole else value, sort_keys=True)


def _templates(package: Path, catalogue: Catalogue) -> dict[str, dict[str, Any]]:
    found = {}
    for path in sorted(package.rglob("*.json")):
        document = json.loads(path.read_text())
        if is_ui_workflow(document) and set(classes_in(document, where=path.name)) <= catalogue.keys():
            found[path.name] = document
    return found


def main(info: str, frontend: str, templates: str) -> int:
    """Print a line for each template that is not equal, and the sum."""
    object_info = json.loads(Path(info).read_text())
    catalogue = read_catalogue(object_info)
    equal, refused, wrong = [], [], []
    with tempfile.TemporaryDirectory() as directory:
        files = _templates(unpacked(templates, Path(directory)), catalogue)
        static = frontend_of(unpacked(frontend, Path(directory)))
        for name, theirs in exported(files, static=static, object_info=object_info):
            try:
                ours = convert(files[name], catalogue, where=name)
            except TemplateError as error:
                refused.append(name)
                print(f"refused: {error}")
                continue
            if isinstance(theirs, str):
                print(f"the frontend fails: {name}: {theirs}")
                continue
            found = list(differences(ours, theirs))
            (wrong if found else equal).append(name)
            print(*[f"wrong: {name}: {each}" for each in found[:_SHOWN]], sep="\n", end="\n" if found else "")
    share = len(equal) / max(len(files), 1)
    print(f"{len(files)} templates: {len(equal)} equal ({share:.1%}), {len(refused)} refused, {len(wrong)} wrong")
    return int(bool(wrong) or share < _ENOUGH)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))

"""Which outputs of a prompt are fetched, and in which order."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

from orchestrator.comfyui import OutputFile, OutputText
from orchestrator.outputs.choice import chosen

SAVE_ORDER: dict[str, Any] = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 0}},
    "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
    "4": {"class_type": "PrimitiveString", "inputs": {"value": "p"}},
    "5": {"class_type": "PreviewAny", "inputs": {"source": ["4", 0]}},
    "6": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}},
    "26": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "first"}},
    "33": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "final"}},
}


def file(node_id: str, name: str = "", *, kind: str = "output") -> OutputFile:
    return OutputFile(node_id, "images", name or f"{node_id}.png", "", kind)


def text(node_id: str) -> OutputText:
    return OutputText(node_id, "text", f"of {node_id}")


FILES = [file("26"), file("33"), file("6", kind="temp")]


def names(files: Sequence[OutputFile]) -> list[str]:
    return [one.filename for one in files]


def test_the_order_of_the_server_does_not_matter() -> None:
    """ComfyUI's comes from a set, and is another one in its next process."""
    for files in itertools.permutations(FILES):
        assert names(chosen(SAVE_ORDER, files, [])[0]) == ["33.png", "26.png"]


def test_files_of_one_node_keep_their_order() -> None:
    files = [file("26", "a_2"), file("33", "b_2"), file("33", "b_1"), file("26", "a_1")]
    assert names(chosen(SAVE_ORDER, files, [])[0]) == ["b_2", "b_1", "a_2", "a_1"]


def test_texts_that_are_only_shown_are_left_out_beside_files() -> None:
    assert chosen(SAVE_ORDER, FILES, [text("5")])[1] == []
    assert chosen(SAVE_ORDER, [], [text("5")])[1] == [text("5")], "a workflow of texts alone"
    assert chosen(SAVE_ORDER, [file("6", kind="temp")], [text("5")])[1] == [text("5")], "nothing lasting"
    assert chosen(SAVE_ORDER, FILES, [text("33")])[1] == [text("33")], "of the node that saves"


def test_files_of_type_temp_are_taken_where_there_is_nothing_else() -> None:
    assert names(chosen(SAVE_ORDER, [file("6", kind="temp")], [])[0]) == ["6.png"]


def test_a_file_that_a_viewer_names_is_taken_where_nothing_else_lasts() -> None:
    """It may lie in another directory of the server, so it must not fail an item that has files of its own."""
    viewed = OutputFile("5", "result", "chair.glb", "mesh", "output", is_viewed=True)
    assert names(chosen(SAVE_ORDER, [*FILES, viewed], [])[0]) == ["33.png", "26.png"]
    assert chosen(SAVE_ORDER, [viewed], []) == ([viewed], [])
    assert chosen(SAVE_ORDER, [*FILES, viewed], [], nodes=("5",)) == ([viewed], [])


def test_nodes_that_are_named_are_all_that_is_fetched() -> None:
    def of(*nodes: str) -> tuple[list[str], list[str]]:
        files, texts = chosen(SAVE_ORDER, FILES, [text("5"), text("33")], nodes=nodes)
        return names(files), [one.node_id for one in texts]

    assert of("26") == (["26.png"], [])
    assert of("26", "33") == (["33.png", "26.png"], ["33"]), "the order stays that of the template"
    assert of("5") == ([], ["5"]), "a text that is asked for"
    assert of("6", "26") == (["6.png", "26.png"], []), "a preview that is asked for"
    assert of("9") == ([], [])


def test_without_a_graph_everything_is_there_in_one_order() -> None:
    for files in itertools.permutations(FILES):
        found = chosen({}, files, [text("5")])
        assert (names(found[0]), found[1]) == (["26.png", "33.png"], [text("5")])


def test_a_graph_that_came_another_way_round_gives_the_same() -> None:
    again = dict(reversed(json.loads(json.dumps(SAVE_ORDER)).items()))
    assert chosen(again, FILES, []) == chosen(SAVE_ORDER, FILES, [])

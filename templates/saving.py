"""What a prompt saves: its save nodes, the prefixes that keep prompts apart, and the file names known in advance.

Every prompt saves under `burst/<two hex>/<prompt_id>-<node>`, a prefix that no other prompt uses, so ComfyUI numbers
its files from `_00001_` and the names are known before it ran (`get_save_image_path` in ComfyUI's `folder_paths.py`).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Literal

from templates.counting import MAKES_NO_FILE, picture_count
from templates.graph import Graph, class_of, inputs_of, link_of, linked_nodes

Files = Literal["one", "one a picture", "unknown"]


@dataclass(frozen=True)
class SaveNode:
    """An output node: how it names what it saves, and how many files that is.

    `prefix_input` is None for a node that takes no prefix. `extension` has its dot. `naming_known` says that the
    files are `<prefix>_00001_<extension>` and so on. `count` is None where it is not known. `temporary`: it shows, or
    saves under `temp`.
    """

    node_id: str
    class_type: str
    prefix_input: str | None
    extension: str | None
    naming_known: bool
    count: int | None
    temporary: bool


@dataclass(frozen=True)
class ExpectedFile:
    """A file that a prompt is going to save, as `/view` names it."""

    node_id: str
    subfolder: str
    filename: str
    type: str = "output"


_MOST_FILES = 10_000
"""No prompt saves more; a graph that says so is refused by the server, and its names would fill the memory."""
_KNOWN: dict[str, tuple[str, Files]] = {
    "SaveImage": (".png", "one a picture"),
    "SaveAnimatedPNG": (".png", "one"),
    "SaveAnimatedWEBP": (".webp", "one"),
    "SaveWEBM": (".webm", "one"),
    "SaveVideo": (".mp4", "one"),
    "SaveLatent": (".latent", "one"),
    "SaveAudio": (".flac", "unknown"),
    "SaveAudioMP3": (".mp3", "unknown"),
    "SaveAudioOpus": (".opus", "unknown"),
    "SaveGLB": (".glb", "unknown"),
    "SaveSVGNode": (".svg", "unknown"),
}
_TEMPORARY = {
    "PreviewImage",
    "PreviewAny",
    "PreviewAudio",
    "Preview3D",
    "Preview3DAnimation",
    "MaskPreview",
    "LossGraphNode",
    "SaveImageWebsocket",
}
_PREFIX_INPUTS = ("filename_prefix", "file_prefix", "save_prefix", "output_prefix", "prefix")
_SHOWS = re.compile(r"^(?!.*Save).*(Preview|Show|Display)")
_LOOSE_END = re.compile(
    r"^(Load|Empty|Primitive|KSampler|Conditioning|ControlNet|RandomNoise|Basic)|(Loader|Simple|Encode|Select)$"
)


def save_nodes(graph: Graph) -> list[SaveNode]:
    """Every output node, in the graph's order: what saves or shows, and every unknown node that nothing follows."""
    followed = linked_nodes(graph)
    return [save for node_id in graph if (save := _save_node(graph, node_id, is_last=node_id not in followed))]


def _save_node(graph: Graph, node_id: str, *, is_last: bool) -> SaveNode | None:
    class_type = class_of(graph, node_id)
    if class_type in _KNOWN:
        return _known(graph, node_id, class_type)
    prefix = _prefix_input(graph, node_id, is_last=is_last)
    temporary = class_type in _TEMPORARY or inputs_of(graph, node_id).get("save_output") is False
    if prefix is None and not temporary:
        if not is_last or class_type in MAKES_NO_FILE or _LOOSE_END.search(class_type):
            return None
        temporary = bool(_SHOWS.search(class_type))
    return SaveNode(node_id, class_type, prefix, extension=None, naming_known=False, count=None, temporary=temporary)


def _known(graph: Graph, node_id: str, class_type: str) -> SaveNode:
    extension, files = _KNOWN[class_type]
    count = picture_count(graph, node_id, "images") if files == "one a picture" else 1 if files == "one" else None
    sure = class_type != "SaveVideo" or inputs_of(graph, node_id).get("format") in ("auto", "mp4")
    return SaveNode(node_id, class_type, "filename_prefix", extension, naming_known=sure, count=count, temporary=False)


def _prefix_input(graph: Graph, node_id: str, *, is_last: bool) -> str | None:
    taken = {
        name: value for name, value in inputs_of(graph, node_id).items() if isinstance(value, str) or link_of(value)
    }
    if "filename_prefix" in taken:
        return "filename_prefix"
    return next((name for name in _PREFIX_INPUTS if name in taken), None) if is_last else None


def prefix_for(prompt_id: str, node_id: str) -> str:
    """The filename prefix of one save node in one prompt."""
    return f"burst/{prompt_id[:2]}/{prompt_id}-{_safe(node_id)}"


def _safe(node_id: str) -> str:
    """The id as part of a file name, different for every id, also where upper and lower case are one.

    ComfyUI reads the number after `<prefix>_` in every name beside its own: with plain `9` and `9_1` side by side,
    the files of `9` would be numbered from 2. An id that is not plain therefore ends in a hash.
    """
    if re.fullmatch(r"[0-9a-z]{1,40}", node_id):
        return node_id
    digest = hashlib.sha256(node_id.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', node_id)[:40]}-h{digest}"


def set_prefixes(graph: Graph, prompt_id: str) -> Graph:
    """A copy of the graph in which every save node that takes a prefix saves under one that no other prompt uses."""
    marked = dict(graph)
    for save in save_nodes(graph):
        if save.prefix_input:
            node = graph[save.node_id]
            marked[save.node_id] = node | {
                "inputs": node["inputs"] | {save.prefix_input: prefix_for(prompt_id, save.node_id)}
            }
    return marked


def expected_files(graph: Graph, prompt_id: str) -> list[ExpectedFile] | None:
    """All files that the prompt saves, or None unless each is known in advance. Those under `temp` do not count."""
    saves = [save for save in save_nodes(graph) if not save.temporary]
    if not saves:
        return None
    files: list[ExpectedFile] = []
    for save in saves:
        if not save.naming_known or save.count is None or save.count > _MOST_FILES:
            return None
        subfolder, _, name = prefix_for(prompt_id, save.node_id).rpartition("/")
        numbered = (f"{name}_{number:05}_{save.extension}" for number in range(1, save.count + 1))
        files += [ExpectedFile(save.node_id, subfolder, filename) for filename in numbered]
    return files


def needs_exclusive_run(graph: Graph) -> list[str]:
    """Ids of the nodes that save without taking a prefix: two prompts at once would overwrite each other's files."""
    return [save.node_id for save in save_nodes(graph) if save.prefix_input is None and not save.temporary]

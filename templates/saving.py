"""What a prompt saves: its save nodes, a unique filename prefix for each of them, and the file names to expect.

Every prompt saves under `burst/<two hex digits>/<prompt_id>-<node>`, a prefix that no other prompt uses. ComfyUI then
numbers its files from `_00001_`, so their names are known in advance (`get_save_image_path` in ComfyUI's
`folder_paths.py`). A class that is not known to make the folders gets a prefix without them: some lose every file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Literal

import msgspec

from templates.counting import SAVES_NOTHING, image_count
from templates.graph import Graph, class_of, inputs_of, link_of, linked_nodes

Files = Literal["one", "one per image", "unknown"]


class SaveNode(msgspec.Struct, frozen=True):
    """An output node: how it names its files, and how many it saves.

    `prefix_input` is None for a node without one. `extension` includes the dot. `naming_known`: the files are named
    `<prefix>_00001_<extension>` and so on, audio also without the last `_`. `count` is None if unknown. `temporary`:
    a node that only displays, or saves under `temp`.
    """

    node_id: str
    class_type: str
    prefix_input: str | None
    extension: str | None
    naming_known: bool
    count: int | None
    temporary: bool


_KNOWN_CLASSES: dict[str, tuple[str, Files]] = {
    "SaveImage": (".png", "one per image"),
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
AUDIO = frozenset({"SaveAudio", "SaveAudioMP3", "SaveAudioOpus"})
"""Classes of known names whose numbers are written otherwise by newer servers."""
_TAKES_FOLDERS = frozenset(_KNOWN_CLASSES) | {
    "CLIPSave",
    "CheckpointSave",
    "ImageOnlyCheckpointSave",
    "LoraSave",
    "ModelSave",
    "Save3DAdvanced",
    "SaveAudioAdvanced",
    "SaveGaussianSplat",
    "SaveImageAdvanced",
    "SaveLoRA",
    "SaveLoRANode",
    "SavePointCloud",
    "SaveText",
    "VAESave",
    "VHS_VideoCombine",
}
"""Classes whose prefix may name folders: they leave it to `get_save_image_path`. Those of ComfyUI up to 0.33.0."""
_TEMPORARY_CLASSES = {
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
_DISPLAYS = re.compile(r"^(?!.*Save).*(Preview|Show|\bshow(?=[A-Z])|Display|Debug|Console|Comparer)")
_NO_OUTPUT_NODE = re.compile(
    r"^(Load|Empty|Primitive|KSampler|Conditioning|ControlNet|RandomNoise|Basic)|(Loader|Simple|Encode|Select)$"
)


def save_nodes(graph: Graph) -> list[SaveNode]:
    """All output nodes in graph order: those that save or display, and unknown nodes without a successor."""
    used = linked_nodes(graph)
    return [save for node_id in graph if (save := _save_node(graph, node_id, is_last=node_id not in used))]


def _save_node(graph: Graph, node_id: str, *, is_last: bool) -> SaveNode | None:
    class_type = class_of(graph, node_id)
    if class_type in _KNOWN_CLASSES:
        return _known(graph, node_id, class_type)
    prefix = _prefix_input(graph, node_id, is_last=is_last)
    temporary = class_type in _TEMPORARY_CLASSES or inputs_of(graph, node_id).get("save_output") is False
    if prefix is None and not temporary:
        if not is_last or class_type in SAVES_NOTHING or _NO_OUTPUT_NODE.search(class_type):
            return None
        temporary = displays(class_type)
    return SaveNode(node_id, class_type, prefix, extension=None, naming_known=False, count=None, temporary=temporary)


def displays(class_type: str) -> bool:
    """Whether a class of this name certainly only shows something."""
    return bool(_DISPLAYS.search(class_type))


def gives_nothing(graph: Graph, node_id: str) -> bool:
    """Whether it certainly neither saves nor shows anything."""
    class_type = class_of(graph, node_id)
    return class_type in SAVES_NOTHING or (
        bool(_NO_OUTPUT_NODE.search(class_type)) and _prefix_input(graph, node_id, is_last=False) is None
    )


def _known(graph: Graph, node_id: str, class_type: str) -> SaveNode:
    extension, files = _KNOWN_CLASSES[class_type]
    count = image_count(graph, node_id, "images") if files == "one per image" else 1 if files == "one" else None
    naming_known = class_type != "SaveVideo" or inputs_of(graph, node_id).get("format") in ("auto", "mp4")
    return SaveNode(
        node_id, class_type, "filename_prefix", extension, naming_known=naming_known, count=count, temporary=False
    )


def _prefix_input(graph: Graph, node_id: str, *, is_last: bool) -> str | None:
    inputs = inputs_of(graph, node_id)
    names = ("filename_prefix",) if not is_last or displays(class_of(graph, node_id)) else _PREFIX_INPUTS
    return next((name for name in names if isinstance(value := inputs.get(name), str) or link_of(value)), None)


def prefix_for(prompt_id: str, node_id: str, *, is_flat: bool = False) -> str:
    """The filename prefix of one save node in one prompt; `is_flat`: without folders."""
    name = f"{prompt_id}-{_safe(node_id)}"
    return f"burst-{name}" if is_flat else f"burst/{prompt_id[:2]}/{name}"


_ID = r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
_SAVED = re.compile(rf"burst/([0-9a-f]{{2}})/{_ID}-[^/]+|burst-{_ID}-[^/]+")


def prompt_of_file(path: str) -> str | None:
    """The prompt that saved a file under a prefix of `prefix_for`; None for every other file.

    `path`: from the server's output folder, with `/`.
    """
    found = _SAVED.fullmatch(path)
    if found is None:
        return None
    folder, prompt_id, flat_id = found.groups()
    return flat_id if folder is None else prompt_id if prompt_id.startswith(folder) else None


def _safe(node_id: str) -> str:
    """The id as part of a file name, unique even on a case-insensitive file system.

    ComfyUI parses the number after `<prefix>_` in all file names of the directory: next to files of a node `9_1`, those
    of a node `9` would be numbered from 2. An id with other characters than digits and lower-case letters therefore
    gets a hash.
    """
    if re.fullmatch(r"[0-9a-z]{1,40}", node_id):
        return node_id
    digest = hashlib.sha256(node_id.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', node_id)[:40]}-h{digest}"


PREFIX_SCHEME = 2
"""The newest rule for prefixes. In 1 all have folders, in 2 those of classes that are not known to take folders have
none. The rule is noted for who meets a prompt later."""


def prefix_scheme(graph: Graph) -> int:
    """The oldest rule that gives the prefixes of `set_prefixes`."""
    return 2 if any(save.prefix_input and _is_flat(save) for save in save_nodes(graph)) else 1


def set_prefixes(graph: Graph, prompt_id: str, *, saves: Iterable[SaveNode] | None = None) -> Graph:
    """A copy of the graph in which every save node with a prefix input saves under a prefix unique to this prompt.

    `saves`: all save nodes of the graph, where they are known.
    """
    prefixed = dict(graph)
    for save in save_nodes(graph) if saves is None else saves:
        if save.prefix_input:
            node = graph[save.node_id]
            prefix = prefix_for(prompt_id, save.node_id, is_flat=_is_flat(save))
            prefixed[save.node_id] = node | {"inputs": node["inputs"] | {save.prefix_input: prefix}}
    return prefixed


def _is_flat(save: SaveNode) -> bool:
    return save.class_type not in _TAKES_FOLDERS


def needs_exclusive_run(graph: Graph) -> list[str]:
    """Ids of the save nodes without a prefix input: two prompts at once would overwrite each other's files."""
    return [save.node_id for save in save_nodes(graph) if save.prefix_input is None and not save.temporary]

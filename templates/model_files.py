"""The files of models that a graph loads: checkpoints, diffusion models, text encoders, VAEs, LoRAs."""

from __future__ import annotations

from collections.abc import Iterator

from templates.graph import Graph, Target, class_of, inputs_of

_EXTENSIONS = (".safetensors", ".sft", ".ckpt", ".gguf", ".pt", ".pth", ".bin", ".onnx", ".patch")


def model_files(graph: Graph) -> dict[Target, str]:
    """Every input that names the file of a model, whatever the class of its node, with that name."""
    return {target: value for target, value in _texts(graph) if value.lower().endswith(_EXTENSIONS)}


_TEXT_ENCODERS = ("clip_name", "clip_name1", "clip_name2", "clip_name3", "clip_name4")
_FOLDERS_OF_CLASSES = {
    ("CLIPVisionLoader", "clip_name"): "clip_vision",
    ("UpscaleModelLoader", "model_name"): "upscale_models",
}


def model_paths(graph: Graph) -> frozenset[str]:
    """The models that a graph loads, as `FOLDER/NAME`: those whose folder is certain from ComfyUI's own loaders."""
    # Not before something is rendered: a run begins without it.
    from templates.choices import MODEL_INPUTS

    folders = {name: folder for name, (_, folder) in MODEL_INPUTS.items()} | dict.fromkeys(
        _TEXT_ENCODERS, "text_encoders"
    )
    found = set()
    for target, name in model_files(graph).items():
        class_type = class_of(graph, target.node_id)
        folder = _FOLDERS_OF_CLASSES.get((class_type, target.input_name)) or folders.get(target.input_name)
        if folder is not None:
            found.add(f"{folder}/{name}")
    return frozenset(found)


def is_lora(target: Target) -> bool:
    """Whether such an input names a LoRA, which is laid over another model and so is quicker to load."""
    return target.input_name.startswith("lora")


def _texts(graph: Graph) -> Iterator[tuple[Target, str]]:
    for node_id in graph:
        for name, value in inputs_of(graph, node_id).items():
            if isinstance(value, str):
                yield Target(node_id, name), value

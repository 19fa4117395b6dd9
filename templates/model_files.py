"""The files of models that a graph loads: checkpoints, diffusion models, text encoders, VAEs, LoRAs."""

from __future__ import annotations

from collections.abc import Iterator

from templates.graph import Graph, Target, inputs_of

_EXTENSIONS = (".safetensors", ".sft", ".ckpt", ".gguf", ".pt", ".pth", ".bin", ".onnx", ".patch")


def model_files(graph: Graph) -> dict[Target, str]:
    """Every input that names the file of a model, whatever the class of its node, with that name."""
    return {target: value for target, value in _texts(graph) if value.lower().endswith(_EXTENSIONS)}


def is_lora(target: Target) -> bool:
    """Whether such an input names a LoRA, which is laid over another model and so is quicker to load."""
    return target.input_name.startswith("lora")


def _texts(graph: Graph) -> Iterator[tuple[Target, str]]:
    for node_id in graph:
        for name, value in inputs_of(graph, node_id).items():
            if isinstance(value, str):
                yield Target(node_id, name), value

"""How many pictures reach a node, followed back through the nodes whose behaviour is known.

Known from the node classes of ComfyUI 0.3.64 (`nodes.py`, `comfy_extras/`). Anything else is unknown, never guessed.
"""

from __future__ import annotations

from templates.graph import Graph, class_of, inputs_of, link_of
from templates.tracing import literal

_MAKES_BATCH = {
    "EmptyImage",
    "EmptyLatentImage",
    "EmptySD3LatentImage",
    "EmptyHunyuanImageLatent",
    "EmptyChromaRadianceLatentImage",
}
_PASSES_ON = {
    "Canny": "image",
    "ImageAddNoise": "image",
    "ImageBlur": "image",
    "ImageCrop": "image",
    "ImageFlip": "image",
    "ImageInvert": "image",
    "ImagePadForOutpaint": "image",
    "ImageQuantize": "image",
    "ImageRotate": "image",
    "ImageScale": "image",
    "ImageScaleBy": "image",
    "ImageScaleToMaxDimension": "image",
    "ImageScaleToTotalPixels": "image",
    "ImageSharpen": "image",
    "ImageUpscaleWithModel": "image",
    "KSampler": "latent_image",
    "KSamplerAdvanced": "latent_image",
    "LatentCrop": "samples",
    "LatentFlip": "samples",
    "LatentRotate": "samples",
    "LatentUpscale": "samples",
    "LatentUpscaleBy": "samples",
    "ResizeAndPadImage": "image",
    "SamplerCustom": "latent_image",
    "SamplerCustomAdvanced": "latent_image",
    "SetLatentNoiseMask": "samples",
    "VAEDecode": "samples",
    "VAEDecodeTiled": "samples",
    "VAEEncode": "pixels",
    "VAEEncodeForInpaint": "pixels",
    "VAEEncodeTiled": "pixels",
}
_MULTIPLIES = {"RepeatImageBatch": "image", "RepeatLatentBatch": "samples"}
_PICTURE_SLOTS = {"SamplerCustom": (0, 1), "SamplerCustomAdvanced": (0, 1)}
_SINGLE_PICTURES = (".png", ".jpg", ".jpeg")

MAKES_NO_FILE = {*_MAKES_BATCH, *_PASSES_ON, *_MULTIPLIES, "LoadImage"}
"""Classes that surely are not output nodes: one that nothing follows is a loose end."""


def picture_count(graph: Graph, node_id: str, input_name: str) -> int | None:
    """The number of pictures or latents that arrive at an input, or None where it is not known."""
    factor, seen = 1, set[str]()
    while link := link_of(inputs_of(graph, node_id).get(input_name)):
        node_id, slot = link
        class_type = class_of(graph, node_id)
        if node_id in seen or slot not in _PICTURE_SLOTS.get(class_type, (0,)):
            return None
        seen.add(node_id)
        if class_type in _MULTIPLIES:
            amount = _positive(graph, node_id, "amount")
            if amount is None:
                return None
            factor *= amount
        elif class_type not in _PASSES_ON:
            made = _made(graph, node_id, class_type)
            return made and made * factor
        input_name = _PASSES_ON.get(class_type) or _MULTIPLIES[class_type]
    return None


def _made(graph: Graph, node_id: str, class_type: str) -> int | None:
    if class_type in _MAKES_BATCH:
        return _positive(graph, node_id, "batch_size")
    if class_type == "LoadImage":
        # ComfyUI writes "name.png [output]" for a picture taken from another of its folders.
        name = str(inputs_of(graph, node_id).get("image")).partition(" [")[0]
        return 1 if name.lower().endswith(_SINGLE_PICTURES) else None
    return None


def _positive(graph: Graph, node_id: str, name: str) -> int | None:
    target = literal(graph, node_id, name, "number")
    value = inputs_of(graph, target.node_id)[target.input_name] if target else None
    return value if isinstance(value, int) and value > 0 else None

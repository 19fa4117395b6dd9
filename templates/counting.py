"""Count the images that reach a node, through nodes of known behaviour.

The known node classes are those of ComfyUI 0.3.64 (`nodes.py`, `comfy_extras/`). With any other node in between the
count is unknown; it is never guessed.
"""

from __future__ import annotations

from templates.graph import Graph, class_of, inputs_of, link_of
from templates.tracing import literal

_CREATES_BATCH = {
    "EmptyImage",
    "EmptyLatentImage",
    "EmptySD3LatentImage",
    "EmptyHunyuanImageLatent",
    "EmptyChromaRadianceLatentImage",
}
_PASSES_THROUGH = {
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
_IMAGE_SLOTS = {"SamplerCustom": (0, 1), "SamplerCustomAdvanced": (0, 1)}
_SINGLE_IMAGES = (".png", ".jpg", ".jpeg")

SAVES_NOTHING = {*_CREATES_BATCH, *_PASSES_THROUGH, *_MULTIPLIES, "LoadImage"}
"""Classes that certainly are not output nodes, even where no other node uses their output."""


def image_count(graph: Graph, node_id: str, input_name: str) -> int | None:
    """The number of images or latents that reach an input, or None if it is unknown."""
    factor, seen = 1, set[str]()
    while link := link_of(inputs_of(graph, node_id).get(input_name)):
        node_id, slot = link
        class_type = class_of(graph, node_id)
        if node_id in seen or slot not in _IMAGE_SLOTS.get(class_type, (0,)):
            return None
        seen.add(node_id)
        if class_type in _MULTIPLIES:
            amount = _positive(graph, node_id, "amount")
            if amount is None:
                return None
            factor *= amount
        elif class_type not in _PASSES_THROUGH:
            created = _created(graph, node_id, class_type)
            return created and created * factor
        input_name = _PASSES_THROUGH.get(class_type) or _MULTIPLIES[class_type]
    return None


def _created(graph: Graph, node_id: str, class_type: str) -> int | None:
    if class_type in _CREATES_BATCH:
        return _positive(graph, node_id, "batch_size")
    if class_type == "LoadImage":
        # ComfyUI writes "name.png [output]" for an image from another of its folders.
        name = str(inputs_of(graph, node_id).get("image")).partition(" [")[0]
        return 1 if name.lower().endswith(_SINGLE_IMAGES) else None
    return None


def _positive(graph: Graph, node_id: str, name: str) -> int | None:
    target = literal(graph, node_id, name, "number")
    value = inputs_of(graph, target.node_id)[target.input_name] if target else None
    return value if isinstance(value, int) and value > 0 else None

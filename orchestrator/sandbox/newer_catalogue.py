"""The same node classes as ComfyUI 0.33.0 has them, and one that it has besides; the words to search for are ours."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from orchestrator.sandbox.catalogue import NODE_CLASSES, SAMPLERS
from orchestrator.sandbox.nodes import NodeClass, Spec

_NEW_SAMPLERS = {
    "exp_heun_2_x0": "heunpp2",
    "exp_heun_2_x0_sde": "exp_heun_2_x0",
}
"""Each with the one that it follows."""
_IMAGES = {"outputs": ("IMAGE",), "output_names": ("images",)}
_SCHEMA = {"schema_node": True}
_CHANGES: dict[str, dict[str, Any]] = {
    "CheckpointLoaderSimple": {"category": "model/loaders"},
    "LoraLoader": {
        "category": "model/loaders",
        "display_name": "Load LoRA (Model and CLIP)",
        "essentials_category": "Image Generation",
    },
    "VAELoader": {"category": "model/loaders", "search_aliases": ()},
    "CLIPTextEncode": {"category": "model/conditioning"},
    "EmptyLatentImage": {"category": "model/latent"},
    "EmptySD3LatentImage": {"category": "model/latent/stable diffusion", "search_aliases": None, **_SCHEMA},
    "KSampler": {"category": "model/sampling"},
    "VAEDecode": {"category": "model/latent"},
    "VAEEncode": {"category": "model/latent"},
    "EmptyImage": {"display_name": "Empty Image", "search_aliases": ()},
    "LoadImage": {"essentials_category": "Basics"},
    "LoadImageMask": {"category": "image", "essentials_category": "Image Tools"},
    "MaskToImage": {"category": "image/mask", **_SCHEMA},
    "ImageInvert": {
        "category": "image/color",
        "display_name": "Invert Image Colors",
        "essentials_category": "Image Tools",
    },
    "ImageScale": {"essentials_category": "Image Tools"},
    "ImageScaleBy": {"essentials_category": "Image Tools"},
    "UpscaleModelLoader": {"category": "model/loaders", "search_aliases": None},
    "ImageUpscaleWithModel": {},
    "ImageBlur": {"category": "image/filters", "display_name": "Blur Image", "search_aliases": None},
    "ImageAddNoise": {"category": "image/filters", "display_name": "Add Noise to Image", **_SCHEMA},
    "SaveImage": {"essentials_category": "Basics", **_IMAGES},
    "PreviewImage": {"essentials_category": "Basics", **_IMAGES},
    "SaveAnimatedWEBP": {
        "category": "image",
        "display_name": "Save Animated WEBP",
        "search_aliases": None,
        **_IMAGES,
        **_SCHEMA,
    },
    "RegexReplace": {"category": "text", "display_name": "Replace Text (Regex)"},
    "PreviewAny": {
        "category": "utilities",
        "display_name": "Preview as Text",
        "description": "Shows any value as a text.",
        "outputs": ("STRING",),
    },
}
_INPUTS: dict[str, dict[str, Spec]] = {
    "MaskToImage": {"mask": ("MASK", {})},
    "ImageAddNoise": {"image": ("IMAGE", {})},
    "SaveAnimatedWEBP": {
        "images": ("IMAGE", {}),
        "filename_prefix": ("STRING", {"default": "ComfyUI", "multiline": False}),
        "method": ("COMBO", {"multiselect": False, "options": ["default", "fastest", "slowest"]}),
    },
}
_CROP = NodeClass(
    "ImageCropV2",
    {
        "image": ("IMAGE", {}),
        "crop_region": (
            "BOUNDING_BOX",
            {
                "default": {"x": 0, "y": 0, "width": 512, "height": 512},
                "socketless": True,
                "component": "ImageCrop",
            },
        ),
    },
    ("IMAGE",),
    display_name="Crop Image",
    description="Cuts a part out of an image, and shows it.",
    category="image/transform",
    module="comfy_extras.nodes_images",
    schema_node=True,
    essentials_category="Image Tools",
    intermediate_output=True,
)


def newer(old: NodeClass) -> NodeClass:
    """A class of 0.3.64 as 0.33.0 describes it."""
    changes: dict[str, Any] = {"search_aliases": (old.name,), **_CHANGES.get(old.name, {}), "is_newer": True}
    required = old.required | _INPUTS.get(old.name, {})
    if old.name == "KSampler":
        required["sampler_name"] = (_samplers(), *required["sampler_name"][1:])
    optional = old.optional
    if old.name == "RegexReplace":
        optional = {name: (spec[0], {**spec[-1], "advanced": True}) for name, spec in optional.items()}  # type: ignore[dict-item]
    return replace(old, required=required, optional=optional, **changes)


def newer_classes() -> dict[str, NodeClass]:
    """All classes by name, also those that a test added to the older ones."""
    crop = replace(_CROP, is_newer=True, search_aliases=(_CROP.name,))
    return {**{name: newer(old) for name, old in NODE_CLASSES.items()}, crop.name: crop}


def _samplers() -> list[str]:
    names = list(SAMPLERS)
    for name, before in _NEW_SAMPLERS.items():
        names.insert(names.index(before) + 1, name)
    return names

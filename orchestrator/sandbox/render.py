"""The outputs of each node class in the sandbox: descriptions of images instead of tensors."""

from __future__ import annotations

import dataclasses
import random
import re
import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from orchestrator.sandbox import drawing
from orchestrator.sandbox.drawing import Frames
from orchestrator.sandbox.files import Files

Inputs = dict[str, Any]
Values = tuple[Any, ...]
SAMPLERS = ("KSampler",)
"""Classes in which a prompt spends its time, step by step."""


@dataclass(frozen=True)
class Context:
    """What a save node needs besides its inputs."""

    files: Files
    graph: dict[str, Any]
    extra_pnginfo: Any
    share_written: float = 1.0
    """Below 1: every file is left incomplete."""
    captions: bool = True
    """Whether images have a text."""


@dataclass(frozen=True)
class Computed:
    """A node's outputs, and its history entry if it saves or shows something."""

    values: Values = ()
    ui: dict[str, Any] | None = None


def compute(class_type: str, inputs: Inputs, context: Context) -> Computed:
    """Run one node. Errors: anything that the node raises; the caller turns it into an execution_error."""
    return _NODES[class_type](inputs, context)


def pictures_at_once(inputs: Inputs) -> int:
    """The number of images that a node holds in memory: those of its inputs, or those that it creates."""
    given = (value.count for value in inputs.values() if isinstance(value, Frames))
    return max(int(inputs.get("batch_size", 0)), *given, 0)


def _checkpoint(inputs: Inputs, _: Context) -> Computed:
    name = inputs["ckpt_name"]
    return Computed((name, name, name))


def _lora(inputs: Inputs, _: Context) -> Computed:
    name = f"{inputs['model']} + {inputs['lora_name']} × {inputs['strength_model']:g}"
    return Computed((name, inputs["clip"]))


def _vae(inputs: Inputs, _: Context) -> Computed:
    return Computed((inputs["vae_name"],))


def _text(inputs: Inputs, _: Context) -> Computed:
    return Computed((inputs["text"],))


def _empty_latent(inputs: Inputs, _: Context) -> Computed:
    width, height = inputs["width"] // 8 * 8, inputs["height"] // 8 * 8
    return Computed((Frames(width, height, inputs["batch_size"]),))


def _empty_image(inputs: Inputs, _: Context) -> Computed:
    frames = Frames(inputs["width"], inputs["height"], inputs["batch_size"], color=inputs["color"])
    return Computed((frames.with_line(f"colour #{inputs['color']:06x}"),))


def _sample(inputs: Inputs, _: Context) -> Computed:
    frames: Frames = inputs["latent_image"]
    lines = [f"{inputs['positive']}", f"seed {inputs['seed']}"]
    if inputs["negative"]:
        lines.append(f"not: {inputs['negative']}")
    lines.append(f"{inputs['steps']} steps, cfg {inputs['cfg']:g}, {inputs['sampler_name']}, {inputs['model']}")
    return Computed((dataclasses.replace(frames, lines=(*frames.lines, *lines)),))


def _decode(inputs: Inputs, _: Context) -> Computed:
    return Computed((inputs["samples"],))


def _encode(inputs: Inputs, _: Context) -> Computed:
    return Computed((inputs["pixels"],))


def _load_image(inputs: Inputs, context: Context) -> Computed:
    path = context.files.input_file(inputs["image"])
    width, height = drawing.size_of(path)
    frames = Frames(width, height, source=path, lines=(f"from {path.name}",))
    return Computed((frames, frames))


def _load_mask(inputs: Inputs, context: Context) -> Computed:
    return Computed(_load_image(inputs, context).values[:1])


def _mask_to_image(inputs: Inputs, _: Context) -> Computed:
    return Computed((inputs["mask"],))


def _invert(inputs: Inputs, _: Context) -> Computed:
    frames: Frames = inputs["image"]
    return Computed((dataclasses.replace(frames, inverted=not frames.inverted),))


def _scale(inputs: Inputs, _: Context) -> Computed:
    return Computed((inputs["image"].resized(inputs["width"], inputs["height"]),))


def _scale_by(inputs: Inputs, _: Context) -> Computed:
    image: Frames = inputs["image"]
    width, height = (max(1, round(side * inputs["scale_by"])) for side in (image.width, image.height))
    return Computed((image.resized(width, height),))


def _upscale_model(inputs: Inputs, _: Context) -> Computed:
    return Computed((inputs["model_name"],))


def _scale_with_model(inputs: Inputs, _: Context) -> Computed:
    """As often as the model's name says: 4x-UltraSharp, RealESRGAN_x2plus."""
    image: Frames = inputs["image"]
    named = re.search(r"(?<!\d)([1-8])x|x([1-8])(?!\d)", inputs["upscale_model"], re.IGNORECASE)
    factor = int(named[1] or named[2]) if named else 4
    larger = image.resized(image.width * factor, image.height * factor)
    return Computed((larger.with_line(f"{factor} times, {inputs['upscale_model']}"),))


def _blur(inputs: Inputs, _: Context) -> Computed:
    return Computed((inputs["image"].with_line(f"blurred {inputs['blur_radius']}, {inputs['sigma']:g}"),))


def _noise(inputs: Inputs, _: Context) -> Computed:
    frames: Frames = inputs["image"]
    noisy = dataclasses.replace(frames, color=None).with_line(f"noise seed {inputs['seed']}, {inputs['strength']:g}")
    return Computed((noisy,))


def _crop(inputs: Inputs, context: Context) -> Computed:
    frames: Frames = inputs["image"]
    region = inputs["crop_region"]
    x, y = min(region.get("x", 0), frames.width - 1), min(region.get("y", 0), frames.height - 1)
    width = min(region.get("width", 512), frames.width - x)
    height = min(region.get("height", 512), frames.height - y)
    cropped = frames.resized(width, height).with_line(f"cropped at {x}, {y}")
    shown = _preview({"images": cropped}, context)
    return Computed((cropped,), {**(shown.ui or {}), "animated": [False]})


def _save(inputs: Inputs, context: Context) -> Computed:
    return _save_pictures(inputs["images"], inputs["filename_prefix"], "output", context)


def _preview(inputs: Inputs, context: Context) -> Computed:
    letters = "".join(random.choices(string.ascii_lowercase, k=5))
    return _save_pictures(inputs["images"], f"ComfyUI_temp_{letters}", "temp", context)


def _save_pictures(frames: Frames, prefix: str, kind: str, context: Context) -> Computed:
    frames = dataclasses.replace(frames, captioned=context.captions)
    place = context.files.save_place(prefix, kind=kind, width=frames.width, height=frames.height)
    saved = []
    for index in range(frames.count):
        name = place.filename(index)
        drawing.save_png(
            frames,
            index,
            place.folder / name,
            graph=context.graph,
            extra_pnginfo=context.extra_pnginfo,
            share=context.share_written,
        )
        saved.append({"filename": name, "subfolder": place.subfolder, "type": kind})
        if context.share_written < 1.0:
            break
    return Computed((frames,), {"images": saved})


def _save_webp(inputs: Inputs, context: Context) -> Computed:
    frames: Frames = inputs["images"]
    place = context.files.save_place(inputs["filename_prefix"], kind="output", width=frames.width, height=frames.height)
    name = place.filename(0, suffix=".webp")
    drawing.save_webp(
        frames,
        place.folder / name,
        frames_per_second=inputs["fps"],
        lossless=inputs["lossless"],
        quality=inputs["quality"],
    )
    saved = {"filename": name, "subfolder": place.subfolder, "type": "output"}
    return Computed((frames,), {"images": [saved], "animated": [frames.count != 1]})


def _regex(inputs: Inputs, _: Context) -> Computed:
    wanted = {
        re.IGNORECASE: inputs.get("case_insensitive", True),
        re.MULTILINE: inputs.get("multiline", False),
        re.DOTALL: inputs.get("dotall", False),
    }
    flags = sum(flag for flag, on in wanted.items() if on)
    pattern, replacement, text = inputs["regex_pattern"], inputs["replace"], inputs["string"]
    return Computed((re.sub(pattern, replacement, text, count=inputs.get("count", 0), flags=flags),))


def _any(inputs: Inputs, _: Context) -> Computed:
    text = str(inputs["source"])
    return Computed((text,), {"text": [text]})


_NODES: dict[str, Callable[[Inputs, Context], Computed]] = {
    "CheckpointLoaderSimple": _checkpoint,
    "LoraLoader": _lora,
    "VAELoader": _vae,
    "CLIPTextEncode": _text,
    "EmptyLatentImage": _empty_latent,
    "EmptySD3LatentImage": _empty_latent,
    "KSampler": _sample,
    "VAEDecode": _decode,
    "VAEEncode": _encode,
    "EmptyImage": _empty_image,
    "LoadImage": _load_image,
    "LoadImageMask": _load_mask,
    "MaskToImage": _mask_to_image,
    "ImageInvert": _invert,
    "ImageScale": _scale,
    "ImageScaleBy": _scale_by,
    "UpscaleModelLoader": _upscale_model,
    "ImageUpscaleWithModel": _scale_with_model,
    "ImageBlur": _blur,
    "ImageCropV2": _crop,
    "ImageAddNoise": _noise,
    "SaveImage": _save,
    "PreviewImage": _preview,
    "SaveAnimatedWEBP": _save_webp,
    "RegexReplace": _regex,
    "PreviewAny": _any,
}

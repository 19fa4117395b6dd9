"""7. Sizes behind other nodes, LoRAs, loaders of other families, guidance."""

from __future__ import annotations

from typing import Any

from support.built_graphs import node, sampler, text_to_image
from support.graphs_by_kind.case import NO_SIZE, Case, like_base
from support.graphs_by_kind.texts import WAN, wan

CLASSES = {
    "CheckpointLoaderSimple": "ckpt_name:COMBO -> MODEL CLIP VAE",
    "UNETLoader": "unet_name:COMBO weight_dtype:COMBO -> MODEL",
    "UnetLoaderGGUF": "unet_name:COMBO -> MODEL",
    "LoaderGGUF": "gguf_name:COMBO -> MODEL",
    "NunchakuFluxDiTLoader": "model_path:COMBO cache_threshold:FLOAT attention:COMBO -> MODEL",
    "WanVideoModelLoader": "model:COMBO base_precision:COMBO lora:WANVIDLORA? -> WANVIDEOMODEL/model",
    "WanVideoLoraSelect": "lora:COMBO strength:FLOAT prev_lora:WANVIDLORA? -> WANVIDLORA/lora",
    "WanVideoSampler": "model:WANVIDEOMODEL image_embeds:WANVIDIMAGE_EMBEDS steps:INT cfg:FLOAT shift:FLOAT seed:INT!"
    " scheduler:COMBO text_embeds:WANVIDEOTEXTEMBEDS? denoise_strength:FLOAT? -> LATENT/samples",
    "WanVideoEmptyEmbeds": "width:INT height:INT num_frames:INT -> WANVIDIMAGE_EMBEDS/image_embeds",
    "WanVideoDecode": "vae:WANVAE samples:LATENT -> IMAGE",
    "WanVideoVAELoader": "model_name:COMBO -> WANVAE",
    "WanImageToVideo": "positive:CONDITIONING negative:CONDITIONING vae:VAE width:INT height:INT length:INT"
    " batch_size:INT start_image:IMAGE? -> CONDITIONING/positive CONDITIONING/negative LATENT/latent",
    "WanFirstLastFrameToVideo": "positive:CONDITIONING negative:CONDITIONING vae:VAE width:INT height:INT length:INT"
    " batch_size:INT start_image:IMAGE? end_image:IMAGE? -> CONDITIONING/positive CONDITIONING/negative LATENT/latent",
    "EmptyLatentImage": "width:INT height:INT batch_size:INT -> LATENT",
    "EmptySD3LatentImage": "width:INT height:INT batch_size:INT -> LATENT",
    "EmptyLTXVLatentVideo": "width:INT height:INT length:INT batch_size:INT -> LATENT",
    "EmptyImage": "width:INT height:INT batch_size:INT color:INT -> IMAGE",
    "GetImageSize": "image:IMAGE -> INT/width INT/height INT/batch_size",
    "GetImageSizeAndCount": "image:IMAGE -> IMAGE/image INT/width INT/height INT/count",
    "ImageScale": "image:IMAGE upscale_method:COMBO width:INT height:INT crop:COMBO -> IMAGE",
    "ImageScaleBy": "image:IMAGE upscale_method:COMBO scale_by:FLOAT -> IMAGE",
    "ImageScaleToTotalPixels": "image:IMAGE upscale_method:COMBO megapixels:FLOAT -> IMAGE",
    "ImageResizeKJv2": "image:IMAGE width:INT height:INT upscale_method:COMBO keep_proportion:COMBO divisible_by:INT"
    " -> IMAGE INT/width INT/height MASK",
    "LatentUpscaleBy": "samples:LATENT upscale_method:COMBO scale_by:FLOAT -> LATENT",
    "RepeatLatentBatch": "samples:LATENT amount:INT -> LATENT",
    "CR SDXL Aspect Ratio": "width:INT height:INT aspect_ratio:COMBO swap_dimensions:COMBO -> INT/width INT/height",
    "SDXL Empty Latent Size Picker": "width:INT height:INT -> INT/width INT/height",
    "easy int": "value:INT -> INT",
    "LoraLoader": "model:MODEL clip:CLIP lora_name:COMBO strength_model:FLOAT strength_clip:FLOAT -> MODEL CLIP",
    "LoraLoaderModelOnly": "model:MODEL lora_name:COMBO strength_model:FLOAT -> MODEL",
    "CR LoRA Stack": "switch_1:COMBO lora_name_1:COMBO model_weight_1:FLOAT clip_weight_1:FLOAT switch_2:COMBO"
    " lora_name_2:COMBO model_weight_2:FLOAT clip_weight_2:FLOAT lora_stack:LORA_STACK? -> LORA_STACK",
    "CR Apply LoRA Stack": "model:MODEL clip:CLIP lora_stack:LORA_STACK -> MODEL CLIP",
    "LoRA Stacker": "input_mode:COMBO lora_count:INT lora_name_1:COMBO lora_wt_1:FLOAT lora_name_2:COMBO"
    " lora_wt_2:FLOAT lora_stack:LORA_STACK? -> LORA_STACK",
    "Lora Loader Stack (rgthree)": "model:MODEL clip:CLIP lora_01:COMBO strength_01:FLOAT lora_02:COMBO"
    " strength_02:FLOAT -> MODEL CLIP",
    "Power Lora Loader (rgthree)": "model:MODEL? clip:CLIP? -> MODEL CLIP",
    "ModelSamplingSD3": "model:MODEL shift:FLOAT -> MODEL",
    "ModelMergeSimple": "model1:MODEL model2:MODEL ratio:FLOAT -> MODEL",
    "FluxGuidance": "conditioning:CONDITIONING guidance:FLOAT -> CONDITIONING",
    "VAEDecode": "samples:LATENT vae:VAE -> IMAGE",
    "SaveImage": "images:IMAGE filename_prefix:STRING ->*",
}
PHOTO = node("LoadImage", image="photo.png")
OF_SIZE = node("EmptyLatentImage", width="@size", height="@size:1", batch_size=1)


def measured(image: dict[str, Any], size: dict[str, Any] | None = None, **nodes: dict[str, Any]) -> dict[str, Any]:
    """A latent as large as an image."""
    read = size or node("GetImageSize", image="@image")
    return text_to_image(image=image, size=read, latent=OF_SIZE, **nodes)


def scaled(class_type: str, **inputs: Any) -> dict[str, Any]:
    """The image that a photo was scaled to."""
    return node(class_type, image="@photo", upscale_method="lanczos", **inputs)


def encoded(image: dict[str, Any]) -> dict[str, Any]:
    """A photo, scaled and worked on."""
    return text_to_image(photo=PHOTO, image=image, latent=node("VAEEncode", pixels="@image", vae="@ckpt:2"))


def stacked(stack: dict[str, Any], **nodes: dict[str, Any]) -> dict[str, Any]:
    """A stack of LoRAs, applied."""
    apply = node("CR Apply LoRA Stack", model="@ckpt", clip="@ckpt:1", lora_stack="@stack")
    return text_to_image(stack=stack, apply=apply, sampler=sampler(model="@apply"), **nodes)


def loader(class_type: str, name: str, **inputs: Any) -> Case:
    """A loader of another family."""
    return like_base(text_to_image(ckpt=node(class_type, **{name: "m.gguf"}, **inputs)), model=f"ckpt.{name}")


NEITHER: dict[str, str | None] = {"width": None, "height": None}
SCALED: dict[str, str | None] = {"width": "image.width", "height": "image.height", "image": "photo.image"}
ENTRIES = {
    "switch_1": "On",
    "lora_name_1": "a.safetensors",
    "model_weight_1": 0.8,
    "clip_weight_1": 1.0,
    "switch_2": "Off",
    "lora_name_2": "b.safetensors",
    "model_weight_2": 1.0,
    "clip_weight_2": 1.0,
}

CASES = {
    "the size of an empty image": like_base(
        measured(node("EmptyImage", width=640, height=480, batch_size=1, color=0)),
        width="image.width",
        height="image.height",
    ),
    "the size of a scaled photo": like_base(
        measured(scaled("ImageScale", width=640, height=480, crop="disabled"), photo=PHOTO), SCALED
    ),
    "the size of a photo": like_base(measured(PHOTO), NEITHER, image="image.image"),
    "the size of half a photo": like_base(
        measured(scaled("ImageScaleBy", scale_by=0.5), photo=PHOTO), NEITHER, image="photo.image"
    ),
    "the size of half an empty image": like_base(
        measured(
            node("ImageScaleBy", image="@blank", upscale_method="lanczos", scale_by=0.5),
            blank=node("EmptyImage", width=1920, height=1088, batch_size=1, color=0),
        ),
        NEITHER,
    ),
    "so many pixels": like_base(
        measured(scaled("ImageScaleToTotalPixels", megapixels=1.0), photo=PHOTO), NEITHER, image="photo.image"
    ),
    "the size that a resizing node gives": like_base(
        text_to_image(
            photo=PHOTO,
            image=scaled("ImageResizeKJv2", width=640, height=480, keep_proportion="crop", divisible_by=8),
            latent=node("EmptyLatentImage", width="@image:1", height="@image:2", batch_size=1),
        ),
        SCALED,
    ),
    "a photo scaled and worked on": like_base(
        encoded(scaled("ImageScale", width=640, height=480, crop="disabled")), NO_SIZE, **SCALED
    ),
    "a photo halved and worked on": like_base(
        encoded(scaled("ImageScaleBy", scale_by=0.5)), NO_SIZE, image="photo.image"
    ),
    "a latent scaled before it is sampled": like_base(
        text_to_image(
            empty=node("EmptyLatentImage", width=512, height=512, batch_size=1),
            latent=node("LatentUpscaleBy", samples="@empty", upscale_method="bilinear", scale_by=2.0),
        ),
        NEITHER,
        batch_size="empty.batch_size",
    ),
    "a latent repeated": like_base(
        text_to_image(
            photo=PHOTO,
            encode=node("VAEEncode", pixels="@photo", vae="@ckpt:2"),
            latent=node("RepeatLatentBatch", samples="@encode", amount=4),
        ),
        NEITHER,
        batch_size="latent.amount",
        image="photo.image",
    ),
    "a size of a list": like_base(
        text_to_image(
            size=node("CR SDXL Aspect Ratio", width=1024, height=1024, aspect_ratio="16:9", swap_dimensions="Off"),
            latent=OF_SIZE,
        ),
        NEITHER,
    ),
    "a node of two numbers": like_base(
        text_to_image(size=node("SDXL Empty Latent Size Picker", width=1024, height=768), latent=OF_SIZE),
        width="size.width",
        height="size.height",
    ),
    "numbers": like_base(
        text_to_image(
            wide=node("easy int", value=640),
            high=node("PrimitiveInt", value=480),
            latent=node("EmptyLatentImage", width="@wide", height="@high", batch_size=1),
        ),
        width="wide.value",
        height="high.value",
    ),
    "a video's first frame": like_base(
        text_to_image(
            photo=PHOTO,
            latent=node(
                "WanImageToVideo",
                positive="@pos",
                negative="@neg",
                vae="@ckpt:2",
                width=832,
                height=480,
                length=81,
                batch_size=1,
                start_image="@photo",
            ),
            sampler=sampler(positive="@latent", negative="@latent:1", latent_image="@latent:2"),
        ),
        image="photo.image",
    ),
    "a latent video": like_base(
        text_to_image(latent=node("EmptyLTXVLatentVideo", width=768, height=512, length=97, batch_size=1))
    ),
    "a LoRA": like_base(
        text_to_image(
            lora=node(
                "LoraLoader", model="@ckpt", clip="@ckpt:1", lora_name="a", strength_model=0.8, strength_clip=1.0
            ),
            sampler=sampler(model="@lora"),
        ),
        lora="lora.lora_name",
        lora_strength="lora.strength_model lora.strength_clip",
    ),
    "the nearer of two LoRAs": like_base(
        text_to_image(
            far=node("LoraLoaderModelOnly", model="@ckpt", lora_name="lightning", strength_model=1.0),
            lora=node("LoraLoaderModelOnly", model="@far", lora_name="a", strength_model=0.8),
            shift=node("ModelSamplingSD3", model="@lora", shift=3.0),
            sampler=sampler(model="@shift"),
        ),
        lora="lora.lora_name",
        lora_strength="lora.strength_model",
    ),
    "a stack of LoRAs": like_base(
        stacked(node("CR LoRA Stack", **ENTRIES)),
        lora="stack.lora_name_1",
        lora_strength="stack.model_weight_1 stack.clip_weight_1",
    ),
    "a stack of LoRAs whose first is off": like_base(
        stacked(node("CR LoRA Stack", **ENTRIES | {"switch_1": "Off", "switch_2": "On"})),
        lora="stack.lora_name_2",
        lora_strength="stack.model_weight_2 stack.clip_weight_2",
    ),
    "a stack of LoRAs that are all off": like_base(stacked(node("CR LoRA Stack", **ENTRIES | {"switch_1": "Off"}))),
    "so many of a stack": like_base(
        stacked(
            node(
                "LoRA Stacker",
                input_mode="simple",
                lora_count=1,
                lora_name_1="a",
                lora_wt_1=0.8,
                lora_name_2="b",
                lora_wt_2=1.0,
            )
        ),
        lora="stack.lora_name_1",
        lora_strength="stack.lora_wt_1",
    ),
    "a loader of a stack": like_base(
        text_to_image(
            lora=node(
                "Lora Loader Stack (rgthree)",
                model="@ckpt",
                clip="@ckpt:1",
                lora_01="None",
                strength_01=1.0,
                lora_02="b",
                strength_02=0.7,
            ),
            sampler=sampler(model="@lora"),
        ),
        lora="lora.lora_02",
        lora_strength="lora.strength_02",
    ),
    "a loader whose LoRAs are objects": like_base(
        text_to_image(
            lora=node(
                "Power Lora Loader (rgthree)",
                model="@ckpt",
                clip="@ckpt:1",
                lora_1={"on": True, "lora": "a.safetensors", "strength": 1.0},
            ),
            sampler=sampler(model="@lora"),
        )
    ),
    "a LoRA of a video model": like_base(
        wan(
            node("WanVideoTextEncode", positive_prompt="a house", negative_prompt="ugly", t5="@t5"),
            select=node("WanVideoLoraSelect", lora="a.safetensors", strength=0.9),
        )
        | {"ckpt": node("WanVideoModelLoader", model="wan.safetensors", base_precision="bf16", lora="@select")},
        WAN,
        lora="select.lora",
        lora_strength="select.strength",
    ),
    "a quantized model": loader("UnetLoaderGGUF", "unet_name"),
    "another quantized model": loader("LoaderGGUF", "gguf_name"),
    "a model of a path": loader("NunchakuFluxDiTLoader", "model_path", cache_threshold=0.0, attention="fp16"),
    "a diffusion model": loader("UNETLoader", "unet_name", weight_dtype="default"),
    "two models merged": like_base(
        text_to_image(
            other=node("CheckpointLoaderSimple", ckpt_name="other.safetensors"),
            merge=node("ModelMergeSimple", model1="@ckpt", model2="@other", ratio=0.5),
            sampler=sampler(model="@merge"),
        )
    ),
    "guidance": like_base(
        text_to_image(
            guide=node("FluxGuidance", conditioning="@pos", guidance=3.5), sampler=sampler(positive="@guide")
        ),
        guidance="guide.guidance",
    ),
    "guidance of both sides": like_base(
        text_to_image(
            guide=node("FluxGuidance", conditioning="@pos", guidance=3.5),
            other=node("FluxGuidance", conditioning="@neg", guidance=3.5),
            sampler=sampler(positive="@guide", negative="@other"),
        ),
        guidance="guide.guidance",
    ),
}

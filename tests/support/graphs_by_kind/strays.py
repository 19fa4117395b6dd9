"""5. Inputs that have the right name and mean something else."""

from __future__ import annotations

from support.built_graphs import node, sampler, text_to_image
from support.graphs_by_kind.case import NO_SIZE, like_base, only

CLASSES = {
    "ADE_AnimateDiffLoaderWithContext": "model:MODEL model_name:COMBO beta_schedule:COMBO motion_scale:FLOAT -> MODEL",
    "ADE_UseEvolvedSampling": "model:MODEL beta_schedule:COMBO m_models:M_MODELS? -> MODEL",
    "ADE_LoadAnimateDiffModel": "model_name:COMBO -> MOTION_MODEL_ADE",
    "ADE_ApplyAnimateDiffModelSimple": "motion_model:MOTION_MODEL_ADE -> M_MODELS",
    "IPAdapterUnifiedLoader": "model:MODEL preset:COMBO -> MODEL IPADAPTER",
    "IPAdapterAdvanced": "model:MODEL ipadapter:IPADAPTER image:IMAGE weight:FLOAT -> MODEL",
    "easy showAnything": "anything:*? text:STRING? ->* *",
    "ShowText|pysssss": "text:STRING text_0:STRING? ->* STRING",
    "Florence2Run": "image:IMAGE florence2_model:FL2MODEL text_input:STRING= task:COMBO num_beams:INT seed:INT!"
    " -> IMAGE MASK STRING/caption JSON",
    "SomeCaptioner": "image:IMAGE prompt:STRING= seed:INT! -> STRING",
    "ConsoleDebug+": "value:* prefix:STRING ->*",
    "SaveString": "text:STRING= ->*",
    "VideoMatting": "image:IMAGE batch_size:INT downsample_ratio:FLOAT -> IMAGE MASK",
    "DepthAnythingPreprocessor": "image:IMAGE ckpt_name:COMBO resolution:INT -> IMAGE",
    "UpscaleModelLoader": "model_name:COMBO -> UPSCALE_MODEL",
    "ImageUpscaleWithModel": "upscale_model:UPSCALE_MODEL image:IMAGE -> IMAGE",
    "SimpleMath+": "a:INT,FLOAT? b:INT,FLOAT? value:STRING -> INT FLOAT",
    "Note Plus": "text:STRING= -> STRING",
    "PreviewAny": "source:* ->*",
    "SomePainter": "prompt:STRING~ negative_prompt:STRING~ seed:INT! -> IMAGE",
    "LLMEnhancer": "prompt:STRING= system_prompt:STRING= seed:INT! -> STRING",
    "GeminiImageNode": "prompt:STRING~ model:COMBO seed:INT! images:IMAGE? -> IMAGE STRING",
}
PHOTO = node("LoadImage", image="photo.png")
CAPTIONED = node("SomeCaptioner", image="@photo", prompt="Describe the image in detail.", seed=4)

CASES = {
    "a motion module": like_base(
        text_to_image(
            motion=node("ADE_AnimateDiffLoaderWithContext", model="@ckpt", model_name="mm.ckpt", beta_schedule="x"),
            sampler=sampler(model="@motion"),
        )
    ),
    "a motion module of its own": like_base(
        text_to_image(
            file=node("ADE_LoadAnimateDiffModel", model_name="mm.ckpt"),
            motion=node("ADE_ApplyAnimateDiffModelSimple", motion_model="@file"),
            apply=node("ADE_UseEvolvedSampling", model="@ckpt", m_models="@motion", beta_schedule="x"),
            sampler=sampler(model="@apply"),
        )
    ),
    "an image adapter": like_base(
        text_to_image(
            photo=PHOTO,
            adapter=node("IPAdapterUnifiedLoader", model="@ckpt", preset="PLUS"),
            apply=node("IPAdapterAdvanced", model="@adapter", ipadapter="@adapter:1", image="@photo", weight=0.8),
            sampler=sampler(model="@apply"),
        ),
        image="photo.image",
    ),
    "a text that is shown, kept of the last time": only(
        {"photo": PHOTO, "caption": CAPTIONED, "show": node("easy showAnything", anything="@caption", text="a dog")},
        seed="caption.seed",
        image="photo.image",
    ),
    "the prompt goes through a node that shows it": like_base(
        text_to_image(
            text=node("PrimitiveStringMultiline", value="a house"),
            show=node("ShowText|pysssss", text="@text", text_0="the house of last time"),
            pos=node("CLIPTextEncode", text="@show", clip="@ckpt:1"),
        ),
        prompt="text.value",
    ),
    "a scheduler goes through a node that shows it": like_base(
        text_to_image(
            config=node(
                "KSampler Config (rgthree)",
                steps_total=30,
                refiner_step=20,
                cfg=6.0,
                sampler_name="euler",
                scheduler="normal",
            ),
            show=node("easy showAnything", anything="@config:4", text="karras"),
            sampler=sampler(scheduler="@show"),
        ),
        scheduler="config.scheduler",
    ),
    "a captioner's question": only(
        {
            "photo": PHOTO,
            "caption": node("Florence2Run", image="@photo", text_input="what is it?", task="caption", seed=1),
            "show": node("ShowText|pysssss", text="@caption:2"),
        },
        seed="caption.seed",
        image="photo.image",
    ),
    "a captioner's answer is the prompt": like_base(
        text_to_image(photo=PHOTO, caption=CAPTIONED, pos=node("CLIPTextEncode", text="@caption", clip="@ckpt:1")),
        prompt=None,
        image="photo.image",
        candidates={"prompt": "pos.text"},
    ),
    "what is asked of a segmenter": only(
        {
            "photo": PHOTO,
            "find": node("GroundingDinoSAMSegment (segment anything)", image="@photo", prompt="face", threshold=0.3),
            "save": node("SaveImage", images="@find", filename_prefix="x"),
        },
        image="photo.image",
        prefix="save.filename_prefix",
    ),
    "what a model is asked to paint": only(
        {
            "photo": PHOTO,
            "paint": node("GeminiImageNode", images="@photo", prompt="in winter", model="m", seed=1),
            "save": node("SaveImage", images="@paint", filename_prefix="x"),
        },
        prompt="paint.prompt",
        seed="paint.seed",
        image="photo.image",
        prefix="save.filename_prefix",
    ),
    "a label that is printed": like_base(
        text_to_image(label=node("ConsoleDebug+", value="@latent", prefix="Width:")),
    ),
    "chunks of a matting node": like_base(
        text_to_image(
            photo=PHOTO,
            matte=node("VideoMatting", image="@photo", batch_size=4, downsample_ratio=0.5),
            latent=node("VAEEncode", pixels="@matte", vae="@ckpt:2"),
        ),
        NO_SIZE,
        image="photo.image",
    ),
    "chunks of a matting node without a sampler": only(
        {
            "photo": PHOTO,
            "matte": node("VideoMatting", image="@photo", batch_size=4, downsample_ratio=0.5),
            "save": node("SaveImage", images="@matte", filename_prefix="x"),
        },
        image="photo.image",
        prefix="save.filename_prefix",
    ),
    "the model of a depth map": like_base(
        text_to_image(
            photo=PHOTO,
            depth=node("DepthAnythingPreprocessor", image="@photo", ckpt_name="depth.pth", resolution=512),
            apply=node("ControlNetApplyAdvanced", image="@depth", positive="@pos", negative="@neg", strength=1.0),
            sampler=sampler(positive="@apply", negative="@apply:1"),
        ),
        image="photo.image",
    ),
    "the model of an upscaler": like_base(
        text_to_image(
            loader=node("UpscaleModelLoader", model_name="4x.pth"),
            big=node("ImageUpscaleWithModel", image="@decode", upscale_model="@loader"),
            save=node("SaveImage", images="@big", filename_prefix="x"),
        )
    ),
    "a text without a sampler": only(
        {
            "blank": node("EmptyImage", width=16, height=16, batch_size=1, color=0),
            "save": node("SaveImage", images="@blank", filename_prefix="x"),
            "text": node("PrimitiveString", value="a house"),
            "show": node("PreviewAny", source="@text"),
        },
        prompt="text.value",
        width="blank.width",
        height="blank.height",
        batch_size="blank.batch_size",
        prefix="save.filename_prefix",
    ),
    "both texts of a model that paints": only(
        {
            "paint": node("SomePainter", prompt="a house", negative_prompt="ugly", seed=1),
            "save": node("SaveImage", images="@paint", filename_prefix="x"),
        },
        prompt="paint.prompt",
        negative="paint.negative_prompt",
        seed="paint.seed",
        prefix="save.filename_prefix",
    ),
    "a formula": only(
        {
            "photo": PHOTO,
            "size": node("GetImageSize", image="@photo"),
            "double": node("SimpleMath+", a="@size", value="a*2"),
            "show": node("PreviewAny", source="@double"),
        },
        image="photo.image",
    ),
    "a note to people": like_base(text_to_image(note=node("Note Plus", text="use with care"))),
    "the instruction of a language model": like_base(
        text_to_image(
            model=node("LLMEnhancer", prompt="Write a prompt.", system_prompt="You are a painter.", seed=4),
            pos=node("CLIPTextEncode", text="@model", clip="@ckpt:1"),
        ),
        prompt=None,
        candidates={"prompt": "model.prompt pos.text"},
    ),
}

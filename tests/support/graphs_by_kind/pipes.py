"""3. Model, texts and latent in one bundle: loaders, samplers and detailers of the pipe families."""

from __future__ import annotations

from typing import Any

from support.built_graphs import node, sampler, text_to_image
from support.graphs_by_kind.case import Case, like_base, only

CLASSES = {
    "ttN pipeLoader": "ckpt_name:COMBO vae_name:COMBO lora1_name:COMBO lora1_model_strength:FLOAT"
    " lora1_clip_strength:FLOAT positive:STRING= negative:STRING= empty_latent_width:INT empty_latent_height:INT"
    " batch_size:INT seed:INT! -> PIPE_LINE/pipe MODEL/model CONDITIONING/positive CONDITIONING/negative LATENT/latent"
    " VAE/vae CLIP/clip INT/seed",
    "ttN pipeKSampler": "pipe:PIPE_LINE lora_name:COMBO steps:INT cfg:FLOAT sampler_name:COMBO scheduler:COMBO"
    " denoise:FLOAT noise_seed:INT! save_prefix:STRING ->* PIPE_LINE/pipe IMAGE/image",
    "ttN text": "text:STRING= -> STRING/text",
    "Efficient Loader": "ckpt_name:COMBO vae_name:COMBO lora_name:COMBO lora_model_strength:FLOAT"
    " lora_clip_strength:FLOAT positive:STRING= negative:STRING= empty_latent_width:INT empty_latent_height:INT"
    " batch_size:INT lora_stack:LORA_STACK? -> MODEL CONDITIONING/CONDITIONING+ CONDITIONING/CONDITIONING- LATENT VAE"
    " CLIP DEPENDENCIES",
    "KSampler (Efficient)": "model:MODEL seed:INT! steps:INT cfg:FLOAT sampler_name:COMBO scheduler:COMBO"
    " positive:CONDITIONING negative:CONDITIONING latent_image:LATENT denoise:FLOAT -> MODEL"
    " CONDITIONING/CONDITIONING+ CONDITIONING/CONDITIONING- LATENT VAE IMAGE",
    "KSampler Adv. (Efficient)": "model:MODEL noise_seed:INT! steps:INT cfg:FLOAT sampler_name:COMBO scheduler:COMBO"
    " positive:CONDITIONING negative:CONDITIONING latent_image:LATENT start_at_step:INT -> MODEL"
    " CONDITIONING/CONDITIONING+ CONDITIONING/CONDITIONING- LATENT VAE IMAGE",
    "easy fullLoader": "ckpt_name:COMBO vae_name:COMBO lora_name:COMBO lora_model_strength:FLOAT"
    " lora_clip_strength:FLOAT empty_latent_width:INT empty_latent_height:INT positive:STRING= negative:STRING="
    " batch_size:INT -> PIPE_LINE/pipe MODEL/model VAE/vae CLIP/clip CONDITIONING/positive CONDITIONING/negative"
    " LATENT/latent",
    "easy preSampling": "pipe:PIPE_LINE steps:INT cfg:FLOAT sampler_name:COMBO scheduler:COMBO denoise:FLOAT seed:INT!"
    " -> PIPE_LINE/pipe",
    "easy kSampler": "pipe:PIPE_LINE image_output:COMBO save_prefix:STRING ->* PIPE_LINE/pipe IMAGE/image",
    "easy fullkSampler": "pipe:PIPE_LINE steps:INT cfg:FLOAT sampler_name:COMBO scheduler:COMBO denoise:FLOAT seed:INT!"
    " image_output:COMBO save_prefix:STRING -> PIPE_LINE/pipe IMAGE/image",
    "ToBasicPipe": "model:MODEL clip:CLIP vae:VAE positive:CONDITIONING negative:CONDITIONING -> BASIC_PIPE",
    "FromBasicPipe": "basic_pipe:BASIC_PIPE -> MODEL CLIP VAE CONDITIONING/positive CONDITIONING/negative",
    "ImpactKSamplerBasicPipe": "basic_pipe:BASIC_PIPE seed:INT! steps:INT cfg:FLOAT sampler_name:COMBO scheduler:COMBO"
    " latent_image:LATENT denoise:FLOAT -> BASIC_PIPE LATENT VAE",
    "FaceDetailer": "image:IMAGE model:MODEL clip:CLIP vae:VAE guide_size:FLOAT seed:INT! steps:INT cfg:FLOAT"
    " sampler_name:COMBO scheduler:COMBO positive:CONDITIONING negative:CONDITIONING denoise:FLOAT"
    " bbox_detector:BBOX_DETECTOR wildcard:STRING~ -> IMAGE/image IMAGE/cropped_refined MASK DETAILER_PIPE",
    "ToDetailerPipe": "model:MODEL clip:CLIP vae:VAE positive:CONDITIONING negative:CONDITIONING"
    " bbox_detector:BBOX_DETECTOR wildcard:STRING~ -> DETAILER_PIPE",
    "EditDetailerPipe": "detailer_pipe:DETAILER_PIPE wildcard:STRING~ -> DETAILER_PIPE",
    "FaceDetailerPipe": "image:IMAGE detailer_pipe:DETAILER_PIPE seed:INT! steps:INT cfg:FLOAT sampler_name:COMBO"
    " scheduler:COMBO denoise:FLOAT -> IMAGE/image",
    "Context (rgthree)": "base_ctx:RGTHREE_CONTEXT? model:MODEL? clip:CLIP? vae:VAE? positive:CONDITIONING?"
    " negative:CONDITIONING? latent:LATENT? seed:INT? -> RGTHREE_CONTEXT/CONTEXT MODEL CLIP VAE CONDITIONING/POSITIVE"
    " CONDITIONING/NEGATIVE LATENT IMAGE INT/SEED",
    "Eff. Loader SDXL": "base_ckpt_name:COMBO refiner_ckpt_name:COMBO positive:STRING= negative:STRING="
    " empty_latent_width:INT empty_latent_height:INT batch_size:INT -> SDXL_TUPLE LATENT VAE DEPENDENCIES",
    "KSampler SDXL (Eff.)": "sdxl_tuple:SDXL_TUPLE noise_seed:INT! steps:INT cfg:FLOAT sampler_name:COMBO"
    " scheduler:COMBO latent_image:LATENT -> SDXL_TUPLE LATENT VAE IMAGE",
    "UltimateSDUpscale": "image:IMAGE model:MODEL positive:CONDITIONING negative:CONDITIONING vae:VAE upscale_by:FLOAT"
    " seed:INT! steps:INT cfg:FLOAT sampler_name:COMBO scheduler:COMBO denoise:FLOAT -> IMAGE",
}
SAVE = node("SaveImage", images="@sampler:1", filename_prefix="x")
SAMPLED: dict[str, Any] = {"steps": 20, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
DETAILED = SAMPLED | {"seed": 9, "steps": 12, "cfg": 5.0, "sampler_name": "dpmpp_2m", "denoise": 0.4}
OF_SAMPLER = {
    "steps": "sampler.steps",
    "cfg": "sampler.cfg",
    "sampler": "sampler.sampler_name",
    "scheduler": "sampler.scheduler",
    "denoise": "sampler.denoise",
}
OF_LOADER = {
    "model": "loader.ckpt_name",
    "width": "loader.empty_latent_width",
    "height": "loader.empty_latent_height",
    "batch_size": "loader.batch_size",
}
LORA = {"lora": "loader.lora_name", "lora_strength": "loader.lora_model_strength loader.lora_clip_strength"}
SIZE = {"empty_latent_width": 512, "empty_latent_height": 768, "batch_size": 1}
NO_LORA = {"lora_name": "None", "lora_model_strength": 1.0, "lora_clip_strength": 1.0}
FULL = node("easy fullLoader", ckpt_name="m", vae_name="Baked", positive="a house", negative="ugly", **NO_LORA, **SIZE)
EFFICIENT = node(
    "Efficient Loader", ckpt_name="m", vae_name="Baked", positive="a house", negative="ugly", **NO_LORA, **SIZE
)


def tiny(**changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A pipe with texts of their own."""
    nodes = {
        "text": node("ttN text", text="a house"),
        "bad": node("ttN text", text="ugly"),
        "loader": node(
            "ttN pipeLoader",
            ckpt_name="m",
            vae_name="Baked VAE",
            lora1_name="None",
            positive="@text",
            negative="@bad",
            seed=0,
            **SIZE,
        ),
        "sampler": node("ttN pipeKSampler", pipe="@loader", noise_seed=7, save_prefix="p", **SAMPLED),
        "save": SAVE,
    }
    return nodes | changes


def loaded(graph: dict[str, dict[str, Any]], **right: str) -> Case:
    """A loader with texts in it, and a sampler."""
    texts = {"prompt": "loader.positive", "negative": "loader.negative", "prefix": "save.filename_prefix"}
    return only(graph, **(OF_SAMPLER | OF_LOADER | LORA | texts | right))


CASES = {
    "a tiny pipe": only(
        tiny(),
        prompt="text.text",
        negative="bad.text",
        seed="sampler.noise_seed",
        prefix="save.filename_prefix",
        **OF_SAMPLER,
        **OF_LOADER,
    ),
    "a tiny pipe with a LoRA": only(
        tiny(
            loader=node(
                "ttN pipeLoader",
                ckpt_name="m",
                lora1_name="l.safetensors",
                lora1_model_strength=0.8,
                lora1_clip_strength=1.0,
                positive="@text",
                negative="@bad",
                seed=0,
                **SIZE,
            )
        ),
        prompt="text.text",
        negative="bad.text",
        seed="sampler.noise_seed",
        prefix="save.filename_prefix",
        lora="loader.lora1_name",
        lora_strength="loader.lora1_model_strength loader.lora1_clip_strength",
        **OF_SAMPLER,
        **OF_LOADER,
    ),
    "two tiny pipes in a row": only(
        tiny(
            second=node("ttN pipeKSampler", pipe="@sampler", noise_seed=8, save_prefix="p", **SAMPLED | {"steps": 5}),
            save=node("SaveImage", images="@second:1", filename_prefix="x"),
        ),
        prompt="text.text",
        negative="bad.text",
        seed="sampler.noise_seed second.noise_seed",
        prefix="save.filename_prefix",
        **{name: f"{at} second.{at.rpartition('.')[2]}" for name, at in OF_SAMPLER.items() if name != "steps"},
        steps="sampler.steps",
        **OF_LOADER,
    ),
    "an efficient loader": loaded(
        {
            "loader": EFFICIENT,
            "sampler": node(
                "KSampler (Efficient)",
                seed=1,
                model="@loader",
                positive="@loader:1",
                negative="@loader:2",
                latent_image="@loader:3",
                **SAMPLED,
            ),
            "save": node("SaveImage", images="@sampler:5", filename_prefix="x"),
        },
        seed="sampler.seed",
    ),
    "efficient samplers that pass everything on": like_base(
        text_to_image(
            sampler=sampler("KSampler (Efficient)"),
            second=node(
                "KSampler Adv. (Efficient)",
                model="@sampler",
                positive="@sampler:1",
                negative="@sampler:2",
                latent_image="@sampler:3",
                noise_seed=2,
                steps=9,
                cfg=7.0,
                sampler_name="euler",
                scheduler="normal",
            ),
            decode=None,
            save=node("SaveImage", images="@second:5", filename_prefix="x"),
        ),
        seed="sampler.seed second.noise_seed",
        cfg="sampler.cfg second.cfg",
        sampler="sampler.sampler_name second.sampler_name",
        scheduler="sampler.scheduler second.scheduler",
    ),
    "an easy pipe sampled ahead": loaded(
        {
            "loader": FULL,
            "sampler": node("easy preSampling", pipe="@loader", seed=3, **SAMPLED),
            "run": node("easy kSampler", pipe="@sampler", image_output="Hide", save_prefix="c"),
            "save": node("SaveImage", images="@run:1", filename_prefix="x"),
        },
        seed="sampler.seed",
    ),
    "an easy pipe sampled at once": loaded(
        {"loader": FULL, "sampler": node("easy fullkSampler", pipe="@loader", seed=3, **SAMPLED), "save": SAVE},
        seed="sampler.seed",
    ),
    "a basic pipe taken apart": like_base(
        text_to_image(
            pipe=node("ToBasicPipe", model="@ckpt", clip="@ckpt:1", vae="@ckpt:2", positive="@pos", negative="@neg"),
            apart=node("FromBasicPipe", basic_pipe="@pipe"),
            sampler=sampler(model="@apart", positive="@apart:3", negative="@apart:4"),
        )
    ),
    "a sampler of a basic pipe": like_base(
        text_to_image(
            pipe=node("ToBasicPipe", model="@ckpt", clip="@ckpt:1", vae="@ckpt:2", positive="@pos", negative="@neg"),
            sampler=node("ImpactKSamplerBasicPipe", basic_pipe="@pipe", seed=1, latent_image="@latent", **SAMPLED),
            decode=node("VAEDecode", samples="@sampler:1", vae="@ckpt:2"),
        )
    ),
    "a face detailer": like_base(
        text_to_image(
            face=node(
                "FaceDetailer",
                image="@decode",
                model="@ckpt",
                clip="@ckpt:1",
                vae="@ckpt:2",
                positive="@pos",
                negative="@neg",
                wildcard="",
                **DETAILED,
            ),
            save=node("SaveImage", images="@face", filename_prefix="x"),
        ),
        seed="sampler.seed face.seed",
        scheduler="sampler.scheduler face.scheduler",
    ),
    "a face detailer with a pipe and a prompt of its own": like_base(
        text_to_image(
            eyes=node("CLIPTextEncode", text="detailed eyes", clip="@ckpt:1"),
            pipe=node("ToDetailerPipe", model="@ckpt", positive="@eyes", negative="@neg", wildcard=""),
            edit=node("EditDetailerPipe", detailer_pipe="@pipe", wildcard="[CONCAT] eyes"),
            face=node("FaceDetailerPipe", image="@decode", detailer_pipe="@edit", **DETAILED),
            save=node("SaveImage", images="@face", filename_prefix="x"),
        ),
        seed="sampler.seed face.seed",
        scheduler="sampler.scheduler face.scheduler",
    ),
    "a context": like_base(
        text_to_image(
            context=node("Context (rgthree)", model="@ckpt", clip="@ckpt:1", vae="@ckpt:2", latent="@latent"),
            more=node("Context (rgthree)", base_ctx="@context", positive="@pos", negative="@neg"),
            sampler=sampler(model="@more:1", positive="@more:4", negative="@more:5", latent_image="@more:6"),
        )
    ),
    "an efficient loader for SDXL": only(
        {
            "loader": node(
                "Eff. Loader SDXL",
                base_ckpt_name="m",
                refiner_ckpt_name="None",
                positive="a house",
                negative="ugly",
                **SIZE,
            ),
            "sampler": node(
                "KSampler SDXL (Eff.)",
                sdxl_tuple="@loader",
                latent_image="@loader:1",
                noise_seed=4,
                **{name: value for name, value in SAMPLED.items() if name != "denoise"},
            ),
            "save": node("SaveImage", images="@sampler:3", filename_prefix="x"),
        },
        prompt="loader.positive",
        negative="loader.negative",
        seed="sampler.noise_seed",
        prefix="save.filename_prefix",
        **{name: at for name, at in OF_SAMPLER.items() if name != "denoise"},
        **OF_LOADER | {"model": "loader.base_ckpt_name"},
    ),
}

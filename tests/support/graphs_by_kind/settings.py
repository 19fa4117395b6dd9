"""4. Settings that the first sampler has, lacks, or takes from elsewhere."""

from __future__ import annotations

from typing import Any

from support.built_graphs import node, sampler, text_to_image
from support.graphs_by_kind.case import like_base

CLASSES = {
    "KSampler": "model:MODEL seed:INT! steps:INT cfg:FLOAT sampler_name:COMBO scheduler:COMBO positive:CONDITIONING"
    " negative:CONDITIONING latent_image:LATENT denoise:FLOAT -> LATENT",
    "KSamplerAdvanced": "model:MODEL add_noise:COMBO noise_seed:INT! steps:INT cfg:FLOAT sampler_name:COMBO"
    " scheduler:COMBO positive:CONDITIONING negative:CONDITIONING latent_image:LATENT start_at_step:INT -> LATENT",
    "SamplerCustomAdvanced": "noise:NOISE guider:GUIDER sampler:SAMPLER sigmas:SIGMAS latent_image:LATENT"
    " -> LATENT/output LATENT/denoised_output",
    "SamplerCustom": "model:MODEL add_noise:BOOLEAN noise_seed:INT! cfg:FLOAT positive:CONDITIONING"
    " negative:CONDITIONING sampler:SAMPLER sigmas:SIGMAS latent_image:LATENT -> LATENT LATENT",
    "BasicGuider": "model:MODEL conditioning:CONDITIONING -> GUIDER",
    "CFGGuider": "model:MODEL positive:CONDITIONING negative:CONDITIONING cfg:FLOAT -> GUIDER",
    "DualCFGGuider": "model:MODEL cond1:CONDITIONING cond2:CONDITIONING negative:CONDITIONING cfg_conds:FLOAT"
    " cfg_cond2_negative:FLOAT -> GUIDER",
    "RandomNoise": "noise_seed:INT! -> NOISE",
    "KSamplerSelect": "sampler_name:COMBO -> SAMPLER",
    "BasicScheduler": "model:MODEL scheduler:COMBO steps:INT denoise:FLOAT -> SIGMAS",
    "LotusConditioning": "-> CONDITIONING",
    "SplitSigmas": "sigmas:SIGMAS step:INT -> SIGMAS/high_sigmas SIGMAS/low_sigmas",
    "ManualSigmas": "sigmas:STRING -> SIGMAS",
    "AlignYourStepsScheduler": "model_type:COMBO steps:INT denoise:FLOAT -> SIGMAS",
    "KSampler Config (rgthree)": "steps_total:INT refiner_step:INT cfg:FLOAT sampler_name:COMBO scheduler:COMBO"
    " -> INT/STEPS INT/REFINER_STEP FLOAT/CFG COMBO/SAMPLER COMBO/SCHEDULER",
    "Input Parameters (Image Saver)": "seed:INT! steps:INT cfg:FLOAT sampler:COMBO scheduler:COMBO denoise:FLOAT"
    " -> INT/seed INT/steps FLOAT/cfg COMBO/sampler COMBO/scheduler FLOAT/denoise",
    "SimpleMath+": "a:INT,FLOAT? b:INT,FLOAT? value:STRING -> INT FLOAT",
    "Seed (rgthree)": "seed:INT -> INT/SEED",
    "PrimitiveInt": "value:INT! -> INT",
    "PrimitiveFloat": "value:FLOAT -> FLOAT",
    "Random Number": "number_type:COMBO minimum:FLOAT maximum:FLOAT seed:INT! -> NUMBER FLOAT INT",
    "XlabsSampler": "model:MODEL conditioning:CONDITIONING neg_conditioning:CONDITIONING noise_seed:INT! steps:INT"
    " timestep_to_start_cfg:INT true_gs:FLOAT image_to_image_strength:FLOAT denoise_strength:FLOAT latent_image:LATENT?"
    " -> LATENT",
    "UltimateSDUpscale": "image:IMAGE model:MODEL positive:CONDITIONING negative:CONDITIONING vae:VAE upscale_by:FLOAT"
    " seed:INT! steps:INT cfg:FLOAT sampler_name:COMBO scheduler:COMBO denoise:FLOAT -> IMAGE",
}
UPSCALE: dict[str, Any] = {"steps": 10, "cfg": 3.5, "sampler_name": "dpmpp_2m", "scheduler": "karras", "denoise": 0.2}
BEHIND = {
    "big": node(
        "UltimateSDUpscale",
        image="@decode",
        model="@ckpt",
        positive="@pos",
        negative="@neg",
        vae="@ckpt:2",
        seed=5,
        upscale_by=2.0,
        **UPSCALE,
    ),
    "save": node("SaveImage", images="@big", filename_prefix="x"),
}


def guided(guider: dict[str, Any], sigmas: dict[str, Any], **more: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A sampler whose settings are in the nodes around it."""
    return text_to_image(
        noise=node("RandomNoise", noise_seed=5),
        guider=guider,
        select=node("KSamplerSelect", sampler_name="euler"),
        sigmas=sigmas,
        sampler=node(
            "SamplerCustomAdvanced",
            noise="@noise",
            guider="@guider",
            sampler="@select",
            sigmas="@sigmas",
            latent_image="@latent",
        ),
        **more,
    )


BASIC = node("BasicGuider", model="@ckpt", conditioning="@pos")
SCHEDULED = node("BasicScheduler", model="@ckpt", scheduler="simple", steps=20, denoise=1.0)
AROUND: dict[str, str | None] = {
    "negative": None,
    "seed": "noise.noise_seed",
    "steps": "sigmas.steps",
    "cfg": None,
    "sampler": "select.sampler_name",
    "scheduler": "sigmas.scheduler",
    "denoise": "sigmas.denoise",
}
SECOND = node(
    "KSampler",
    model="@ckpt",
    positive="@pos",
    negative="@neg",
    latent_image="@sampler",
    seed=2,
    steps=8,
    cfg=7.0,
    sampler_name="euler",
    scheduler="normal",
    denoise=0.5,
)
DECODED = node("VAEDecode", samples="@second", vae="@ckpt:2")

CASES = {
    "the plain one": like_base(text_to_image()),
    "nodes around, without cfg": like_base(guided(BASIC, SCHEDULED), AROUND),
    "nodes around, and an upscaler with a cfg": like_base(
        guided(BASIC, SCHEDULED, **BEHIND), AROUND, seed="noise.noise_seed big.seed", negative=None
    ),
    "nodes around with a cfg": like_base(
        guided(node("CFGGuider", model="@ckpt", positive="@pos", negative="@neg", cfg=3.0), SCHEDULED),
        AROUND,
        cfg="guider.cfg",
        negative="neg.text",
    ),
    "two cfgs": like_base(
        guided(
            node(
                "DualCFGGuider",
                model="@ckpt",
                cond1="@pos",
                cond2="@pos",
                negative="@neg",
                cfg_conds=7.0,
                cfg_cond2_negative=2.0,
            ),
            SCHEDULED,
        ),
        AROUND,
        cfg="guider.cfg_conds",
        negative="neg.text",
    ),
    "sigmas that are split": like_base(
        guided(BASIC, node("SplitSigmas", sigmas="@all", step=10), all=SCHEDULED),
        AROUND,
        steps="all.steps",
        scheduler="all.scheduler",
        denoise="all.denoise",
    ),
    "sigmas that are written out, and an upscaler with steps": like_base(
        guided(BASIC, node("ManualSigmas", sigmas="1, 0.5, 0"), **BEHIND),
        AROUND,
        seed="noise.noise_seed big.seed",
        steps=None,
        scheduler=None,
        denoise=None,
    ),
    "a schedule of its own": like_base(
        guided(BASIC, node("AlignYourStepsScheduler", model_type="SDXL", steps=10, denoise=1.0)), AROUND, scheduler=None
    ),
    "a custom sampler": like_base(
        text_to_image(
            select=node("KSamplerSelect", sampler_name="euler"),
            sigmas=SCHEDULED,
            sampler=node(
                "SamplerCustom",
                model="@ckpt",
                add_noise=True,
                noise_seed=3,
                cfg=1.0,
                positive="@pos",
                negative="@neg",
                sampler="@select",
                sigmas="@sigmas",
                latent_image="@latent",
            ),
        ),
        AROUND,
        negative="neg.text",
        seed="sampler.noise_seed",
        cfg="sampler.cfg",
    ),
    "a second pass": like_base(
        text_to_image(second=SECOND, decode=DECODED),
        seed="sampler.seed second.seed",
        cfg="sampler.cfg second.cfg",
        sampler="sampler.sampler_name second.sampler_name",
        scheduler="sampler.scheduler second.scheduler",
    ),
    "steps that are computed, and a second pass": like_base(
        text_to_image(
            count=node("SimpleMath+", a="@number", value="a*2"),
            number=node("PrimitiveInt", value=10),
            sampler=sampler(steps="@count"),
            second=SECOND,
            decode=DECODED,
        ),
        seed="sampler.seed second.seed",
        steps=None,
        cfg="sampler.cfg second.cfg",
        sampler="sampler.sampler_name second.sampler_name",
        scheduler="sampler.scheduler second.scheduler",
    ),
    "a random number of steps": like_base(
        text_to_image(
            count=node("Random Number", number_type="integer", minimum=10, maximum=30, seed=4),
            sampler=sampler(steps="@count:2"),
        ),
        steps=None,
    ),
    "one seed for two passes": like_base(
        text_to_image(
            number=node("Seed (rgthree)", seed=77),
            sampler=sampler(seed="@number"),
            second=SECOND | {"inputs": SECOND["inputs"] | {"seed": ["number", 0]}},
            decode=DECODED,
        ),
        seed="number.seed",
        cfg="sampler.cfg second.cfg",
        sampler="sampler.sampler_name second.sampler_name",
        scheduler="sampler.scheduler second.scheduler",
    ),
    "primitives": like_base(
        text_to_image(
            number=node("PrimitiveInt", value=77),
            strength=node("PrimitiveFloat", value=7.0),
            sampler=sampler(seed="@number", cfg="@strength"),
        ),
        seed="number.value",
        cfg="strength.value",
    ),
    "a node of settings": like_base(
        text_to_image(
            config=node(
                "KSampler Config (rgthree)",
                steps_total=30,
                refiner_step=20,
                cfg=6.0,
                sampler_name="euler",
                scheduler="normal",
            ),
            sampler=sampler(cfg="@config:2", sampler_name="@config:3", scheduler="@config:4"),
        ),
        cfg="config.cfg",
        sampler="config.sampler_name",
        scheduler="config.scheduler",
    ),
    "a node of settings that looks like a sampler": like_base(
        text_to_image(
            config=node(
                "Input Parameters (Image Saver)",
                seed=5,
                steps=28,
                cfg=6.0,
                sampler="euler",
                scheduler="normal",
                denoise=1.0,
            ),
            sampler=sampler(
                seed="@config",
                steps="@config:1",
                cfg="@config:2",
                sampler_name="@config:3",
                scheduler="@config:4",
                denoise="@config:5",
            ),
        ),
        seed="config.seed",
        steps="config.steps",
        cfg="config.cfg",
        sampler="config.sampler",
        scheduler="config.scheduler",
        denoise="config.denoise",
    ),
    "base and refiner": like_base(
        text_to_image(
            sampler=sampler("KSamplerAdvanced", seed=None, denoise=None, noise_seed=3, add_noise="enable"),
            refiner=node("CheckpointLoaderSimple", ckpt_name="refiner.safetensors"),
            same=node("CLIPTextEncode", text="a house", clip="@refiner:1"),
            bad=node("CLIPTextEncode", text="ugly", clip="@refiner:1"),
            second=sampler(
                "KSamplerAdvanced",
                seed=None,
                denoise=None,
                noise_seed=0,
                add_noise="disable",
                model="@refiner",
                positive="@same",
                negative="@bad",
                latent_image="@sampler",
            ),
            decode=DECODED,
        ),
        prompt="pos.text same.text",
        negative="neg.text bad.text",
        seed="sampler.noise_seed second.noise_seed",
        steps="sampler.steps second.steps",
        cfg="sampler.cfg second.cfg",
        sampler="sampler.sampler_name second.sampler_name",
        scheduler="sampler.scheduler second.scheduler",
        denoise=None,
    ),
    "a first pass without a negative, and a second with one": like_base(
        guided(BASIC, SCHEDULED, second=SECOND, decode=DECODED),
        AROUND,
        seed="noise.noise_seed second.seed",
        sampler="select.sampler_name second.sampler_name",
    ),
    "a sampler of a depth map before the one with a prompt": like_base(
        text_to_image(
            photo=node("LoadImage", image="photo.png"),
            depth=node("UNETLoader", unet_name="lotus.safetensors", weight_dtype="default"),
            lotus=node("LotusConditioning"),
            guider=node("BasicGuider", model="@depth", conditioning="@lotus"),
            noise=node("RandomNoise", noise_seed=5),
            select=node("KSamplerSelect", sampler_name="heun"),
            sigmas=node("BasicScheduler", model="@depth", scheduler="simple", steps=1, denoise=1.0),
            encoded=node("VAEEncode", pixels="@photo", vae="@ckpt:2"),
            first=node(
                "SamplerCustomAdvanced",
                noise="@noise",
                guider="@guider",
                sampler="@select",
                sigmas="@sigmas",
                latent_image="@encoded",
            ),
            map=node("VAEDecode", samples="@first", vae="@ckpt:2"),
            apply=node("ControlNetApplyAdvanced", image="@map", positive="@pos", negative="@neg", strength=1.0),
            sampler=sampler(positive="@apply", negative="@apply:1"),
        ),
        seed="sampler.seed noise.noise_seed",
        denoise="sampler.denoise sigmas.denoise",
        image="photo.image",
    ),
    "a sampler with names of its own": like_base(
        text_to_image(
            sampler=node(
                "XlabsSampler",
                model="@ckpt",
                conditioning="@pos",
                neg_conditioning="@neg",
                noise_seed=3,
                steps=25,
                true_gs=3.5,
                image_to_image_strength=0.0,
                denoise_strength=1.0,
                latent_image="@latent",
            )
        ),
        seed="sampler.noise_seed",
        cfg=None,
        sampler=None,
        scheduler=None,
        denoise="sampler.denoise_strength",
    ),
}

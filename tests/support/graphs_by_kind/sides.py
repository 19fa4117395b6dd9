"""1. Nodes between encoders and sampler whose first output is not the positive conditioning."""

from __future__ import annotations

from support.built_graphs import node, sampler, text_to_image
from support.graphs_by_kind.case import NO_SIZE, like_base

CLASSES = {
    "ApplyInstantID": "instantid:INSTANTID insightface:FACEANALYSIS control_net:CONTROL_NET image:IMAGE model:MODEL"
    " positive:CONDITIONING negative:CONDITIONING weight:FLOAT -> MODEL CONDITIONING/positive CONDITIONING/negative",
    "BrushNet": "model:MODEL vae:VAE image:IMAGE mask:MASK brushnet:BRMODEL positive:CONDITIONING"
    " negative:CONDITIONING scale:FLOAT -> MODEL/model CONDITIONING/positive CONDITIONING/negative LATENT/latent",
    "PowerPaint": "model:MODEL vae:VAE image:IMAGE mask:MASK powerpaint:BRMODEL clip:CLIP positive:CONDITIONING"
    " negative:CONDITIONING fitting:FLOAT function:COMBO -> MODEL/model CONDITIONING/positive CONDITIONING/negative"
    " LATENT/latent",
    "Attention couple": "model:MODEL positive:CONDITIONING negative:CONDITIONING mode:COMBO"
    " -> MODEL CONDITIONING CONDITIONING",
    "ControlNetApplyAdvanced": "positive:CONDITIONING negative:CONDITIONING control_net:CONTROL_NET image:IMAGE"
    " strength:FLOAT vae:VAE? -> CONDITIONING/positive CONDITIONING/negative",
    "ACN_AdvancedControlNetApply": "positive:CONDITIONING negative:CONDITIONING control_net:CONTROL_NET image:IMAGE"
    " strength:FLOAT model_optional:MODEL? -> CONDITIONING/positive CONDITIONING/negative MODEL/model_opt",
    "InpaintModelConditioning": "positive:CONDITIONING negative:CONDITIONING vae:VAE pixels:IMAGE mask:MASK"
    " noise_mask:BOOLEAN -> CONDITIONING/positive CONDITIONING/negative LATENT/latent",
    "ICLightConditioning": "positive:CONDITIONING negative:CONDITIONING vae:VAE foreground:LATENT multiplier:FLOAT"
    " opt_background:LATENT? -> CONDITIONING/positive CONDITIONING/negative LATENT/empty_latent",
    "NegativeFirst": "positive:CONDITIONING negative:CONDITIONING -> CONDITIONING/negative CONDITIONING/positive",
    "ConditioningZeroOut": "conditioning:CONDITIONING -> CONDITIONING",
    "ConditioningCombine": "conditioning_1:CONDITIONING conditioning_2:CONDITIONING -> CONDITIONING",
    "ConditioningSetMask": "conditioning:CONDITIONING mask:MASK strength:FLOAT -> CONDITIONING",
    "LTXVConditioning": "positive:CONDITIONING negative:CONDITIONING frame_rate:FLOAT"
    " -> CONDITIONING/positive CONDITIONING/negative",
    "unCLIPConditioning": "conditioning:CONDITIONING clip_vision_output:CLIP_VISION_OUTPUT strength:FLOAT"
    " -> CONDITIONING",
    "CLIPVisionEncode": "clip_vision:CLIP_VISION image:IMAGE crop:COMBO -> CLIP_VISION_OUTPUT",
    "Reroute": "in:* -> *",
}
FROM_FIRST = {"positive": "@apply", "negative": "@apply:1"}
MODEL_FIRST = {"model": "@apply", "positive": "@apply:1", "negative": "@apply:2"}
PAIR = {"positive": "@pos", "negative": "@neg"}
PHOTO = node("LoadImage", image="photo.png")

CASES = {
    "ApplyInstantID": like_base(
        text_to_image(
            photo=PHOTO,
            apply=node("ApplyInstantID", image="@photo", model="@ckpt", weight=0.8, **PAIR),
            sampler=sampler(**MODEL_FIRST),
        ),
        image="photo.image",
    ),
    "BrushNet, whose latent comes from it too": like_base(
        text_to_image(
            photo=PHOTO,
            apply=node("BrushNet", image="@photo", mask="@photo:1", model="@ckpt", vae="@ckpt:2", scale=1.0, **PAIR),
            sampler=sampler(**MODEL_FIRST, latent_image="@apply:3"),
            latent=None,
        ),
        NO_SIZE,
        image="photo.image",
    ),
    "PowerPaint": like_base(
        text_to_image(
            photo=PHOTO,
            apply=node("PowerPaint", image="@photo", mask="@photo:1", model="@ckpt", function="text guided", **PAIR),
            sampler=sampler(**MODEL_FIRST, latent_image="@apply:3"),
            latent=None,
        ),
        NO_SIZE,
        image="photo.image",
    ),
    "attention couple": like_base(
        text_to_image(
            apply=node("Attention couple", mode="Attention", model="@ckpt", **PAIR), sampler=sampler(**MODEL_FIRST)
        )
    ),
    "attention couple of two regions": like_base(
        text_to_image(
            left=node("ConditioningSetMask", conditioning="@pos", mask="@half", strength=1.0),
            other=node("CLIPTextEncode", text="a lake", clip="@ckpt:1"),
            half=node("SolidMask", value=1.0, width=256, height=768),
            right=node("ConditioningSetMask", conditioning="@other", mask="@half", strength=1.0),
            both=node("ConditioningCombine", conditioning_1="@left", conditioning_2="@right"),
            apply=node("Attention couple", mode="Attention", model="@ckpt", positive="@both", negative="@neg"),
            sampler=sampler(**MODEL_FIRST),
        ),
        prompt=None,
        candidates={"prompt": "pos.text other.text"},
    ),
    "ControlNet": like_base(
        text_to_image(
            photo=PHOTO,
            apply=node("ControlNetApplyAdvanced", image="@photo", strength=1.0, **PAIR),
            sampler=sampler(**FROM_FIRST),
        ),
        image="photo.image",
    ),
    "two ControlNets": like_base(
        text_to_image(
            photo=PHOTO,
            first=node("ControlNetApplyAdvanced", image="@photo", strength=1.0, **PAIR),
            apply=node("ControlNetApplyAdvanced", image="@photo", strength=0.5, positive="@first", negative="@first:1"),
            sampler=sampler(**FROM_FIRST),
        ),
        image="photo.image",
    ),
    "ControlNet behind InstantID": like_base(
        text_to_image(
            photo=PHOTO,
            first=node("ControlNetApplyAdvanced", image="@photo", strength=1.0, **PAIR),
            apply=node("ApplyInstantID", image="@photo", model="@ckpt", positive="@first", negative="@first:1"),
            sampler=sampler(**MODEL_FIRST),
        ),
        image="photo.image",
    ),
    "InstantID behind ControlNet": like_base(
        text_to_image(
            photo=PHOTO,
            first=node("ApplyInstantID", image="@photo", model="@ckpt", **PAIR),
            apply=node("ControlNetApplyAdvanced", image="@photo", positive="@first:1", negative="@first:2"),
            sampler=sampler(model="@first", **FROM_FIRST),
        ),
        image="photo.image",
    ),
    "advanced ControlNet with a model behind": like_base(
        text_to_image(
            photo=PHOTO,
            apply=node("ACN_AdvancedControlNetApply", image="@photo", model_optional="@ckpt", strength=1.0, **PAIR),
            sampler=sampler(**FROM_FIRST),
        ),
        image="photo.image",
    ),
    "inpainting conditioning": like_base(
        text_to_image(
            photo=PHOTO,
            apply=node("InpaintModelConditioning", pixels="@photo", mask="@photo:1", vae="@ckpt:2", **PAIR),
            sampler=sampler(**FROM_FIRST, latent_image="@apply:2"),
            latent=None,
        ),
        NO_SIZE,
        image="photo.image",
    ),
    "IC-Light": like_base(
        text_to_image(
            photo=PHOTO,
            encode=node("VAEEncode", pixels="@photo", vae="@ckpt:2"),
            apply=node("ICLightConditioning", foreground="@encode", vae="@ckpt:2", multiplier=0.18, **PAIR),
            sampler=sampler(**FROM_FIRST),
        ),
        image="photo.image",
    ),
    "a node whose first output is the negative": like_base(
        text_to_image(apply=node("NegativeFirst", **PAIR), sampler=sampler(positive="@apply:1", negative="@apply"))
    ),
    "both outputs through reroutes": like_base(
        text_to_image(
            photo=PHOTO,
            apply=node("ControlNetApplyAdvanced", image="@photo", strength=1.0, **PAIR),
            one=node("Reroute", **{"in": "@apply"}),
            two=node("Reroute", **{"in": "@apply:1"}),
            sampler=sampler(positive="@one", negative="@two"),
        ),
        image="photo.image",
    ),
    "the positive of a ControlNet zeroed out for the negative": like_base(
        text_to_image(
            photo=PHOTO,
            apply=node("ControlNetApplyAdvanced", image="@photo", strength=1.0, **PAIR),
            zero=node("ConditioningZeroOut", conditioning="@apply"),
            sampler=sampler(positive="@apply", negative="@zero"),
        ),
        image="photo.image",
        negative=None,
    ),
    "the prompt zeroed out for the negative": like_base(
        text_to_image(
            zero=node("ConditioningZeroOut", conditioning="@pos"), sampler=sampler(negative="@zero"), neg=None
        ),
        negative=None,
    ),
    "images behind the conditioning": like_base(
        text_to_image(
            photo=PHOTO,
            vision=node("CLIPVisionEncode", image="@photo", crop="center"),
            apply=node("unCLIPConditioning", conditioning="@pos", clip_vision_output="@vision", strength=1.0),
            sampler=sampler(positive="@apply"),
        ),
        image="photo.image",
    ),
    "conditioning in the middle of a guider": like_base(
        text_to_image(
            rate=node("LTXVConditioning", frame_rate=25.0, **PAIR),
            guider=node("CFGGuider", model="@ckpt", positive="@rate", negative="@rate:1", cfg=3.0),
            noise=node("RandomNoise", noise_seed=5),
            select=node("KSamplerSelect", sampler_name="euler"),
            sigmas=node("BasicScheduler", model="@ckpt", scheduler="simple", steps=8, denoise=1.0),
            sampler=node(
                "SamplerCustomAdvanced",
                noise="@noise",
                guider="@guider",
                sampler="@select",
                sigmas="@sigmas",
                latent_image="@latent",
            ),
        ),
        seed="noise.noise_seed",
        steps="sigmas.steps",
        cfg="guider.cfg",
        sampler="select.sampler_name",
        scheduler="sigmas.scheduler",
        denoise="sigmas.denoise",
    ),
}

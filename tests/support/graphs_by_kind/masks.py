"""2. Masks that are loaded, masks that are computed, and the image that is worked on."""

from __future__ import annotations

from support.built_graphs import node, sampler, text_to_image
from support.graphs_by_kind.case import NO_SIZE, like_base, only

CLASSES = {
    "LoadImage": "image:COMBO^image -> IMAGE MASK",
    "LoadImageMask": "image:COMBO^image channel:COMBO -> MASK",
    "ImageToMask": "image:IMAGE channel:COMBO -> MASK",
    "MaskToImage": "mask:MASK -> IMAGE",
    "InvertMask": "mask:MASK -> MASK",
    "GrowMask": "mask:MASK expand:INT tapered_corners:BOOLEAN -> MASK",
    "SolidMask": "value:FLOAT width:INT height:INT -> MASK",
    "MaskComposite": "destination:MASK source:MASK x:INT y:INT operation:COMBO -> MASK",
    "ImageCompositeMasked": "destination:IMAGE source:IMAGE x:INT y:INT resize_source:BOOLEAN mask:MASK? -> IMAGE",
    "VAEEncodeForInpaint": "pixels:IMAGE vae:VAE mask:MASK grow_mask_by:INT -> LATENT",
    "SetLatentNoiseMask": "samples:LATENT mask:MASK -> LATENT",
    "VAEEncode": "pixels:IMAGE vae:VAE -> LATENT",
    "RMBG": "image:IMAGE model:COMBO sensitivity:FLOAT -> IMAGE MASK IMAGE/mask_image",
    "BRIA_RMBG_Zho": "rmbgmodel:RMBGMODEL image:IMAGE -> IMAGE MASK",
    "GroundingDinoSAMSegment (segment anything)": "sam_model:SAM_MODEL grounding_dino_model:GROUNDING_DINO_MODEL"
    " image:IMAGE prompt:STRING threshold:FLOAT -> IMAGE MASK",
    "CLIPSeg": "image:IMAGE text:STRING= blur:FLOAT threshold:FLOAT -> MASK/Mask IMAGE/Heatmap__Mask",
    "GrowMaskWithBlur": "mask:MASK expand:INT blur_radius:FLOAT -> MASK MASK/mask_inverted",
}
PHOTO = node("LoadImage", image="photo.png")
BEHIND = node("LoadImage", image="beach.png")
MASK = node("LoadImageMask", image="mask.png", channel="red")
SAVE = node("SaveImage", images="@paste", filename_prefix="x")
GROWN = node("GrowMask", mask="@mask", expand=6, tapered_corners=True)


def inpainting(**changes: dict | None) -> dict:  # type: ignore[type-arg]
    """A photo with a mask behind a sampler."""
    nodes = {
        "photo": PHOTO,
        "mask": MASK,
        "latent": node("VAEEncodeForInpaint", pixels="@photo", vae="@ckpt:2", mask="@mask", grow_mask_by=6),
    }
    return text_to_image(**(nodes | changes))


def pasted(**changes: dict) -> dict:  # type: ignore[type-arg]
    """A photo cut out and pasted onto another, without a sampler."""
    nodes = {
        "photo": PHOTO,
        "behind": BEHIND,
        "cut": node("RMBG", image="@photo", model="RMBG-2.0", sensitivity=1.0),
        "paste": node("ImageCompositeMasked", destination="@behind", source="@photo", x=0, y=0, mask="@cut:1"),
        "save": SAVE,
    }
    return nodes | changes


CASES = {
    "a loaded mask": like_base(inpainting(), NO_SIZE, image="photo.image", mask="mask.image"),
    "a loaded mask, grown and inverted": like_base(
        inpainting(
            grown=GROWN,
            turned=node("InvertMask", mask="@grown"),
            latent=node("VAEEncodeForInpaint", pixels="@photo", vae="@ckpt:2", mask="@turned", grow_mask_by=6),
        ),
        NO_SIZE,
        image="photo.image",
        mask="mask.image",
    ),
    "the photo's own alpha": like_base(
        inpainting(
            mask=None,
            latent=node("VAEEncodeForInpaint", pixels="@photo", vae="@ckpt:2", mask="@photo:1", grow_mask_by=6),
        ),
        NO_SIZE,
        image="photo.image",
    ),
    "the alpha of another image": like_base(
        inpainting(
            mask=node("LoadImage", image="mask.png"),
            latent=node("VAEEncodeForInpaint", pixels="@photo", vae="@ckpt:2", mask="@mask:1", grow_mask_by=6),
        ),
        NO_SIZE,
        image="photo.image",
        mask="mask.image",
    ),
    "an image scaled and turned into a mask": like_base(
        inpainting(
            file=node("LoadImage", image="mask.png"),
            scaled=node("ImageScale", image="@file", upscale_method="lanczos", width=512, height=512, crop="disabled"),
            mask=node("ImageToMask", image="@scaled", channel="red"),
        ),
        NO_SIZE,
        image="photo.image",
        mask="file.image",
    ),
    "a mask computed of the photo": like_base(
        inpainting(mask=node("CLIPSeg", image="@photo", text="hair", blur=7.0, threshold=0.4)),
        NO_SIZE,
        image="photo.image",
    ),
    "a mask computed by a model that is told what to find": like_base(
        inpainting(
            find=node("GroundingDinoSAMSegment (segment anything)", image="@photo", prompt="dress", threshold=0.3),
            mask=node("GrowMaskWithBlur", mask="@find:1", expand=4, blur_radius=2.0),
        ),
        NO_SIZE,
        image="photo.image",
    ),
    "a computed mask, pasted onto another image behind the sampler": like_base(
        inpainting(
            mask=node("RMBG", image="@photo", model="RMBG-2.0", sensitivity=1.0),
            latent=node("VAEEncodeForInpaint", pixels="@photo", vae="@ckpt:2", mask="@mask:1", grow_mask_by=6),
            behind=BEHIND,
            paste=node("ImageCompositeMasked", destination="@behind", source="@decode", x=0, y=0, mask="@mask:1"),
            save=SAVE,
        ),
        NO_SIZE,
        image="photo.image",
    ),
    "a photo cut out and pasted": only(
        pasted(), prefix="save.filename_prefix", candidates={"image": "behind.image photo.image"}
    ),
    "a photo cut out by a linked model and pasted": only(
        pasted(
            cut=node("BRIA_RMBG_Zho", image="@photo", rmbgmodel="@loader"), loader=node("BRIA_RMBG_ModelLoader_Zho")
        ),
        prefix="save.filename_prefix",
        candidates={"image": "behind.image photo.image"},
    ),
    "a photo cut out alone": only(
        {
            "photo": PHOTO,
            "cut": node("RMBG", image="@photo", model="RMBG-2.0", sensitivity=1.0),
            "save": node("SaveImage", images="@cut", filename_prefix="x"),
        },
        image="photo.image",
        prefix="save.filename_prefix",
    ),
    "two masks of one file": like_base(
        inpainting(
            again=node("LoadImageMask", image="mask.png", channel="red"),
            behind=BEHIND,
            paste=node("ImageCompositeMasked", destination="@behind", source="@decode", x=0, y=0, mask="@again"),
            save=SAVE,
        ),
        NO_SIZE,
        image="photo.image",
        mask="mask.image again.image",
    ),
    "two masks, one of them for the sampler": like_base(
        inpainting(
            again=node("LoadImageMask", image="other.png", channel="red"),
            paste=node("ImageCompositeMasked", destination="@photo", source="@decode", x=0, y=0, mask="@again"),
            save=SAVE,
        ),
        NO_SIZE,
        image="photo.image",
        mask="mask.image",
    ),
    "a noise mask": like_base(
        inpainting(
            encode=node("VAEEncode", pixels="@photo", vae="@ckpt:2"),
            latent=node("SetLatentNoiseMask", samples="@encode", mask="@grown"),
            grown=GROWN,
        ),
        NO_SIZE,
        image="photo.image",
        mask="mask.image",
    ),
    "a subject and a light": like_base(
        text_to_image(
            photo=PHOTO,
            light=node("LoadImage", image="light.png"),
            cut=node("RMBG", image="@photo", model="RMBG-2.0", sensitivity=1.0),
            encode=node("VAEEncode", pixels="@cut", vae="@ckpt:2"),
            apply=node("ICLightConditioning", foreground="@encode", vae="@ckpt:2", positive="@pos", negative="@neg"),
            start=node("VAEEncode", pixels="@light", vae="@ckpt:2"),
            sampler=sampler(positive="@apply", negative="@apply:1", latent_image="@start"),
            latent=None,
        ),
        NO_SIZE,
        image="light.image",
    ),
}

"""The sandbox's node classes. Names, types and limits are those of ComfyUI 0.3.64; the descriptions are ours."""

from __future__ import annotations

from orchestrator.sandbox.nodes import NodeClass, Spec

_LARGEST = 16384
SAMPLERS = (  # noqa: SIM905 - forty lines of one word each otherwise
    "euler euler_cfg_pp euler_ancestral euler_ancestral_cfg_pp heun heunpp2 dpm_2 dpm_2_ancestral lms dpm_fast "
    "dpm_adaptive dpmpp_2s_ancestral dpmpp_2s_ancestral_cfg_pp dpmpp_sde dpmpp_sde_gpu dpmpp_2m "
    "dpmpp_2m_cfg_pp dpmpp_2m_sde dpmpp_2m_sde_gpu dpmpp_2m_sde_heun dpmpp_2m_sde_heun_gpu dpmpp_3m_sde "
    "dpmpp_3m_sde_gpu ddpm lcm ipndm ipndm_v deis res_multistep res_multistep_cfg_pp res_multistep_ancestral "
    "res_multistep_ancestral_cfg_pp gradient_estimation gradient_estimation_cfg_pp er_sde seeds_2 seeds_3 "
    "sa_solver sa_solver_pece ddim uni_pc uni_pc_bh2"
).split()
_SCHEDULERS = "simple sgm_uniform karras exponential ddim_uniform beta normal linear_quadratic kl_optimal".split()  # noqa: SIM905
_SAVING = {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}


def _size(smallest: int, step: int, default: int = 512) -> Spec:
    return ("INT", {"default": default, "min": smallest, "max": _LARGEST, "step": step})


def _latent_size(smallest: int, step: int, default: int) -> Spec:
    return ("INT", {"default": default, "min": smallest, "max": _LARGEST, "step": step, "tooltip": "In pixels."})


_BATCH: Spec = ("INT", {"default": 1, "min": 1, "max": 4096})
_LATENT_BATCH: Spec = ("INT", {"default": 1, "min": 1, "max": 4096, "tooltip": "How many pictures."})
_STRENGTH: Spec = ("FLOAT", {"default": 1.0, "min": -100.0, "max": 100.0, "step": 0.01, "tooltip": "May be negative."})
_STEPS: Spec = ("INT", {"default": 20, "min": 1, "max": 10000, "tooltip": "Denoising steps."})
_SEED: Spec = (
    "INT",
    {"default": 0, "min": 0, "max": 2**64 - 1, "control_after_generate": True, "tooltip": "Seed of the noise."},
)
_CFG: Spec = (
    "FLOAT",
    {
        "default": 8.0,
        "min": 0.0,
        "max": 100.0,
        "step": 0.1,
        "round": 0.01,
        "tooltip": "How closely to follow the text.",
    },
)
_SAMPLING: dict[str, Spec] = {
    "sampler_name": (SAMPLERS, {"tooltip": "The sampler."}),
    "scheduler": (_SCHEDULERS, {"tooltip": "The noise schedule."}),
    "positive": ("CONDITIONING", {"tooltip": "What to show."}),
    "negative": ("CONDITIONING", {"tooltip": "What to avoid."}),
    "latent_image": ("LATENT", {"tooltip": "What to start from."}),
}

_ALL = (
    NodeClass(
        "CheckpointLoaderSimple",
        {"ckpt_name": ("@checkpoints", {"tooltip": "The checkpoint to load."})},
        ("MODEL", "CLIP", "VAE"),
        display_name="Load Checkpoint",
        description="Loads a checkpoint.",
        category="loaders",
        output_tooltips=("The model.", "Its text encoder.", "Its VAE."),
    ),
    NodeClass(
        "LoraLoader",
        {
            "model": ("MODEL", {"tooltip": "The model to change."}),
            "clip": ("CLIP", {"tooltip": "The text encoder to change."}),
            "lora_name": ("@loras", {"tooltip": "The LoRA."}),
            "strength_model": _STRENGTH,
            "strength_clip": _STRENGTH,
        },
        ("MODEL", "CLIP"),
        display_name="Load LoRA",
        description="Applies a LoRA to a model and its text encoder.",
        category="loaders",
        output_tooltips=("The changed model.", "The changed text encoder."),
    ),
    NodeClass(
        "VAELoader", {"vae_name": ("@vae and pixel_space",)}, ("VAE",), display_name="Load VAE", category="loaders"
    ),
    NodeClass(
        "CLIPTextEncode",
        {
            "text": ("STRING", {"multiline": True, "dynamicPrompts": True, "tooltip": "The text."}),
            "clip": ("CLIP", {"tooltip": "The text encoder."}),
        },
        ("CONDITIONING",),
        display_name="CLIP Text Encode (Prompt)",
        description="Encodes a prompt text.",
        category="conditioning",
        output_tooltips=("The encoded text.",),
    ),
    NodeClass(
        "EmptyLatentImage",
        {"width": _latent_size(16, 8, 512), "height": _latent_size(16, 8, 512), "batch_size": _LATENT_BATCH},
        ("LATENT",),
        display_name="Empty Latent Image",
        description="Empty latents to sample from.",
        category="latent",
        output_tooltips=("The empty latents.",),
    ),
    NodeClass(
        "EmptySD3LatentImage",
        {"width": _size(16, 16, 1024), "height": _size(16, 16, 1024), "batch_size": _BATCH},
        ("LATENT",),
        module="comfy_extras.nodes_sd3",
        category="latent/sd3",
    ),
    NodeClass(
        "KSampler",
        {
            "model": ("MODEL", {"tooltip": "The model that denoises."}),
            "seed": _SEED,
            "steps": _STEPS,
            "cfg": _CFG,
            **_SAMPLING,
            "denoise": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.01, "tooltip": "How much."}),
        },
        ("LATENT",),
        description="Denoises latents.",
        category="sampling",
        output_tooltips=("The denoised latents.",),
    ),
    NodeClass(
        "VAEDecode",
        {"samples": ("LATENT", {"tooltip": "What to decode."}), "vae": ("VAE", {"tooltip": "The VAE."})},
        ("IMAGE",),
        display_name="VAE Decode",
        description="Turns latents into pictures.",
        category="latent",
        output_tooltips=("The pictures.",),
    ),
    NodeClass(
        "VAEEncode", {"pixels": ("IMAGE",), "vae": ("VAE",)}, ("LATENT",), display_name="VAE Encode", category="latent"
    ),
    NodeClass(
        "EmptyImage",
        {
            "width": _size(1, 1),
            "height": _size(1, 1),
            "batch_size": _BATCH,
            "color": ("INT", {"default": 0, "min": 0, "max": 0xFFFFFF, "step": 1, "display": "color"}),
        },
        ("IMAGE",),
    ),
    NodeClass("LoadImage", {"image": ("@input", {"image_upload": True})}, ("IMAGE", "MASK"), display_name="Load Image"),
    NodeClass(
        "LoadImageMask",
        {"image": ("@input", {"image_upload": True}), "channel": (["alpha", "red", "green", "blue"],)},
        ("MASK",),
        display_name="Load Image (as Mask)",
        category="mask",
    ),
    NodeClass(
        "MaskToImage",
        {"mask": ("MASK",)},
        ("IMAGE",),
        display_name="Convert Mask to Image",
        category="mask",
        module="comfy_extras.nodes_mask",
    ),
    NodeClass("ImageInvert", {"image": ("IMAGE",)}, ("IMAGE",), display_name="Invert Image"),
    NodeClass(
        "ImageScale",
        {
            "image": ("IMAGE",),
            "upscale_method": (["nearest-exact", "bilinear", "area", "bicubic", "lanczos"],),
            "width": _size(0, 1),
            "height": _size(0, 1),
            "crop": (["disabled", "center"],),
        },
        ("IMAGE",),
        display_name="Upscale Image",
        category="image/upscaling",
    ),
    NodeClass(
        "ImageScaleBy",
        {
            "image": ("IMAGE",),
            "upscale_method": (["nearest-exact", "bilinear", "area", "bicubic", "lanczos"],),
            "scale_by": ("FLOAT", {"default": 1.0, "min": 0.01, "max": 8.0, "step": 0.01}),
        },
        ("IMAGE",),
        display_name="Upscale Image By",
        category="image/upscaling",
    ),
    NodeClass(
        "UpscaleModelLoader",
        {"model_name": ("COMBO", {"multiselect": False, "options": "@upscale_models"})},
        ("UPSCALE_MODEL",),
        module="comfy_extras.nodes_upscale_model",
        display_name="Load Upscale Model",
        category="loaders",
        schema_node=True,
    ),
    NodeClass(
        "ImageUpscaleWithModel",
        {"upscale_model": ("UPSCALE_MODEL", {}), "image": ("IMAGE", {})},
        ("IMAGE",),
        module="comfy_extras.nodes_upscale_model",
        display_name="Upscale Image (using Model)",
        category="image/upscaling",
        schema_node=True,
    ),
    NodeClass(
        "ImageBlur",
        {
            "image": ("IMAGE", {}),
            "blur_radius": ("INT", {"default": 1, "min": 1, "max": 31, "step": 1}),
            "sigma": ("FLOAT", {"default": 1.0, "min": 0.1, "max": 10.0, "step": 0.1}),
        },
        ("IMAGE",),
        module="comfy_extras.nodes_post_processing",
        category="image/postprocessing",
        schema_node=True,
    ),
    NodeClass(
        "ImageAddNoise",
        {
            "image": ("IMAGE",),
            "seed": _SEED,
            "strength": ("FLOAT", {"default": 0.5, "min": 0.0, "max": 1.0, "step": 0.01}),
        },
        ("IMAGE",),
        module="comfy_extras.nodes_images",
    ),
    NodeClass(
        "SaveImage",
        {
            "images": ("IMAGE", {"tooltip": "What to save."}),
            "filename_prefix": ("STRING", {"default": "ComfyUI", "tooltip": "May name folders, %width% and %height%."}),
        },
        hidden=_SAVING,
        display_name="Save Image",
        description="Saves pictures in the output folder.",
        output_node=True,
    ),
    NodeClass(
        "PreviewImage",
        {"images": ("IMAGE",)},
        hidden=_SAVING,
        display_name="Preview Image",
        description="Saves pictures in the folder for temporary files.",
        output_node=True,
    ),
    NodeClass(
        "SaveAnimatedWEBP",
        {
            "images": ("IMAGE",),
            "filename_prefix": ("STRING", {"default": "ComfyUI"}),
            "fps": ("FLOAT", {"default": 6.0, "min": 0.01, "max": 1000.0, "step": 0.01}),
            "lossless": ("BOOLEAN", {"default": True}),
            "quality": ("INT", {"default": 80, "min": 0, "max": 100}),
            "method": (["default", "fastest", "slowest"],),
        },
        hidden=_SAVING,
        module="comfy_extras.nodes_images",
        category="image/animation",
        output_node=True,
    ),
    NodeClass(
        "RegexReplace",
        {
            "string": ("STRING", {"multiline": True}),
            "regex_pattern": ("STRING", {"multiline": True}),
            "replace": ("STRING", {"multiline": True}),
        },
        ("STRING",),
        optional={
            "case_insensitive": ("BOOLEAN", {"default": True}),
            "multiline": ("BOOLEAN", {"default": False}),
            "dotall": ("BOOLEAN", {"tooltip": "The dot matches line ends too.", "default": False}),
            "count": ("INT", {"tooltip": "At most so many; 0 for all.", "default": 0, "min": 0, "max": 100}),
        },
        display_name="Regex Replace",
        description="Replaces text by a regular expression.",
        module="comfy_extras.nodes_string",
        category="utils/string",
        schema_node=True,
    ),
    NodeClass(
        "PreviewAny",
        {"source": ("*", {})},
        display_name="Preview Any",
        module="comfy_extras.nodes_preview_any",
        category="utils",
        output_node=True,
    ),
)

NODE_CLASSES = {node_class.name: node_class for node_class in _ALL}
"""All classes by name."""

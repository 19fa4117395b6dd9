"""6. Texts that are written elsewhere than in the encoder."""

from __future__ import annotations

from typing import Any

from support.built_graphs import node, sampler, text_to_image
from support.graphs_by_kind.case import NO_SIZE, Case, like_base

CLASSES = {
    "CLIPTextEncode": "text:STRING~ clip:CLIP -> CONDITIONING",
    "CLIPTextEncodeSDXL": "clip:CLIP width:INT height:INT crop_w:INT text_g:STRING~ text_l:STRING~ -> CONDITIONING",
    "CLIPTextEncodeSD3": "clip:CLIP clip_l:STRING~ clip_g:STRING~ t5xxl:STRING~ empty_padding:COMBO -> CONDITIONING",
    "CLIPTextEncodeFlux": "clip:CLIP clip_l:STRING~ t5xxl:STRING~ guidance:FLOAT -> CONDITIONING",
    "CLIPTextEncodeLumina2": "system_prompt:COMBO user_prompt:STRING~ clip:CLIP -> CONDITIONING",
    "TextEncodeQwenImageEditPlus": "clip:CLIP prompt:STRING~ vae:VAE? image1:IMAGE? image2:IMAGE? image3:IMAGE?"
    " -> CONDITIONING",
    "TextEncodeAceStepAudio": "clip:CLIP tags:STRING~ lyrics:STRING~ lyrics_strength:FLOAT -> CONDITIONING",
    "MZ_ChatGLM3": "chatglm3_model:CHATGLM3MODEL text:STRING~ -> CONDITIONING",
    "ImpactWildcardEncode": "model:MODEL clip:CLIP wildcard_text:STRING~ populated_text:STRING~ mode:COMBO seed:INT!"
    " -> MODEL CLIP CONDITIONING STRING/populated_text",
    "ImpactWildcardProcessor": "wildcard_text:STRING~ populated_text:STRING~ mode:COMBO seed:INT! -> STRING",
    "DPRandomGenerator": "text:STRING~ seed:INT! autorefresh:COMBO -> STRING",
    "WanVideoTextEncode": "t5:WANTEXTENCODER positive_prompt:STRING= negative_prompt:STRING= force_offload:BOOLEAN"
    " -> WANVIDEOTEXTEMBEDS/text_embeds",
    "StringConcatenate": "string_a:STRING= string_b:STRING= delimiter:STRING -> STRING",
    "StringReplace": "string:STRING= find:STRING= replace:STRING= -> STRING",
    "RegexReplace": "string:STRING= regex_pattern:STRING replace:STRING count:INT -> STRING",
    "JoinStrings": "string1:STRING string2:STRING delimiter:STRING -> STRING",
    "Text Concatenate": "delimiter:STRING clean_whitespace:COMBO text_a:STRING? text_b:STRING? -> STRING",
    "PrimitiveString": "value:STRING -> STRING",
    "PrimitiveStringMultiline": "value:STRING= -> STRING",
    "Text Multiline": "text:STRING= -> STRING",
    "CR Prompt Text": "prompt:STRING= -> STRING/prompt STRING/show_help",
    "easy positive": "positive:STRING= -> STRING/positive",
    "easy negative": "negative:STRING= -> STRING/negative",
    "SDXLPromptStyler": "text_positive:STRING= text_negative:STRING= style:COMBO -> STRING/text_positive"
    " STRING/text_negative",
    "LazySwitch": "switch:BOOLEAN on_false:* on_true:* -> *",
    "Any Switch (rgthree)": "any_01:*? any_02:*? -> *",
    "ImpactSwitch": "select:INT input1:*? input2:*? sel_mode:BOOLEAN -> * STRING INT",
    "LTXVGemmaEnhancePrompt": "clip:CLIP prompt:STRING~ system_prompt:STRING= seed:INT! image:IMAGE? -> STRING",
    "ImpactExecutionOrderController": "signal:* value:* -> */signal */value",
    "ConditioningConcat": "conditioning_to:CONDITIONING conditioning_from:CONDITIONING -> CONDITIONING",
    "ConditioningSetArea": "conditioning:CONDITIONING width:INT height:INT x:INT y:INT strength:FLOAT -> CONDITIONING",
}
TEXT = node("PrimitiveStringMultiline", value="a house", title="Prompt")
PLAIN = node("PrimitiveStringMultiline", value="a house")
FROM_TEXT = node("CLIPTextEncode", text="@text", clip="@ckpt:1")
FROM_GLUE = node("CLIPTextEncode", text="@glue", clip="@ckpt:1")


def behind(**nodes: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    """A text in `text`, and what is between it and the encoder in `glue`, if anything is."""
    encoder = FROM_GLUE if "glue" in nodes else FROM_TEXT
    return text_to_image(**({"text": TEXT, "pos": encoder} | nodes))


def primitive(class_type: str, name: str) -> Case:
    """A node that holds the text."""
    return like_base(behind(text=node(class_type, **{name: "a house"})), prompt=f"text.{name}")


def encoded(encoder: dict[str, Any], *names: str, **right: str) -> Case:
    """An encoder of another kind."""
    return like_base(text_to_image(pos=encoder), prompt=" ".join(f"pos.{name}" for name in names), **right)


def wan(encoder: dict[str, Any], **nodes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """One encoder for both sides."""
    return text_to_image(
        ckpt=node("WanVideoModelLoader", model="wan.safetensors", base_precision="bf16"),
        pos=encoder,
        neg=None,
        latent=node("WanVideoEmptyEmbeds", width=832, height=480, num_frames=81),
        sampler=node(
            "WanVideoSampler",
            model="@ckpt",
            image_embeds="@latent",
            text_embeds="@pos",
            steps=4,
            cfg=1.0,
            shift=5.0,
            seed=1,
            scheduler="unipc",
            denoise_strength=1.0,
        ),
        decode=node("WanVideoDecode", samples="@sampler", vae="@vae"),
        vae=node("WanVideoVAELoader", model_name="vae.safetensors"),
        **nodes,
    )


WAN: dict[str, str | None] = {
    "model": "ckpt.model",
    "batch_size": None,
    "sampler": None,
    "denoise": "sampler.denoise_strength",
    "prompt": "pos.positive_prompt",
    "negative": "pos.negative_prompt",
}
WILDCARDS = {"wildcard_text": "a {red|blue} house", "populated_text": "a red house", "seed": 3}
STYLED = node("SDXLPromptStyler", text_positive="a house", text_negative="ugly", style="base")

CASES = {
    "a string": primitive("PrimitiveString", "value"),
    "a text": primitive("Text Multiline", "text"),
    "a prompt text": primitive("CR Prompt Text", "prompt"),
    "a text for the positive": primitive("easy positive", "positive"),
    "wildcards, to be filled in": primitive("DPRandomGenerator", "text"),
    "a text for each side": like_base(
        behind(
            text=node("easy positive", positive="a house"),
            bad=node("easy negative", negative="ugly"),
            neg=node("CLIPTextEncode", text="@bad", clip="@ckpt:1"),
        ),
        prompt="text.positive",
        negative="bad.negative",
    ),
    "concatenated with a trigger, and titled": like_base(
        behind(glue=node("StringConcatenate", string_a="trigger, ", string_b="@text", delimiter="")),
        prompt="text.value",
    ),
    "concatenated with a trigger": like_base(
        behind(text=PLAIN, glue=node("StringConcatenate", string_a="trigger, ", string_b="@text", delimiter="")),
        prompt=None,
        candidates={"prompt": "glue.string_a text.value pos.text"},
    ),
    "concatenated with nothing": like_base(
        behind(text=PLAIN, glue=node("StringConcatenate", string_a="", string_b="@text", delimiter=", ")),
        prompt="text.value",
    ),
    "joined of two texts": like_base(
        behind(
            text=PLAIN,
            other=node("Text Multiline", text="oil painting"),
            glue=node("JoinStrings", string1="@text", string2="@other", delimiter=" "),
        ),
        prompt=None,
        candidates={"prompt": "text.value other.text pos.text"},
    ),
    "joined of two titled texts": like_base(
        behind(
            text=node("Text Multiline", text="a house", title="Positive Prompt"),
            other=node("Text Multiline", text="oil painting", title="Style Prompt"),
            glue=node("Text Concatenate", delimiter=", ", clean_whitespace="true", text_a="@text", text_b="@other"),
        ),
        prompt="text.text",
    ),
    "cleaned": like_base(
        behind(text=PLAIN, glue=node("RegexReplace", string="@text", regex_pattern="^,", replace="", count=0)),
        prompt="text.value",
    ),
    "a template that another text fills in": like_base(
        behind(text=PLAIN, glue=node("StringReplace", string="a photo of $", find="$", replace="@text")),
        prompt=None,
        candidates={"prompt": "glue.string text.value pos.text"},
    ),
    "a switch with its choice": like_base(
        behind(
            text=PLAIN,
            other=node("Text Multiline", text="a lake"),
            glue=node("LazySwitch", switch=False, on_false="@text", on_true="@other"),
        ),
        prompt="text.value",
    ),
    "a switch whose choice is linked": like_base(
        behind(
            text=PLAIN,
            other=node("Text Multiline", text="a lake"),
            choice=node("PrimitiveBoolean", value=True),
            glue=node("LazySwitch", switch="@choice", on_false="@text", on_true="@other"),
        ),
        prompt=None,
        candidates={"prompt": "text.value other.text pos.text"},
    ),
    "a switch between the text and an enhancer of it": like_base(
        behind(
            text=PLAIN,
            choice=node("PrimitiveBoolean", value=True),
            better=node("LLMEnhancer", prompt="@text", system_prompt="You are a painter.", seed=4),
            glue=node("LazySwitch", switch="@choice", on_false="@text", on_true="@better"),
        ),
        prompt="text.value",
    ),
    "the first that is there": like_base(
        behind(
            text=PLAIN,
            other=node("Text Multiline", text="a lake"),
            glue=node("Any Switch (rgthree)", any_01="@text", any_02="@other"),
        ),
        prompt="text.value",
    ),
    "the second of two": like_base(
        behind(
            text=PLAIN,
            other=node("Text Multiline", text="a lake"),
            glue=node("ImpactSwitch", select=2, input1="@other", input2="@text", sel_mode=False),
        ),
        prompt="text.value",
    ),
    "a switch of conditioning": like_base(
        text_to_image(
            other=node("CLIPTextEncode", text="a lake", clip="@ckpt:1"),
            either=node("Any Switch (rgthree)", any_01="@pos", any_02="@other"),
            sampler=sampler(positive="@either"),
        )
    ),
    "a styler of both sides": like_base(
        text_to_image(
            style=STYLED,
            pos=node("CLIPTextEncode", text="@style", clip="@ckpt:1"),
            neg=node("CLIPTextEncode", text="@style:1", clip="@ckpt:1"),
        ),
        prompt="style.text_positive",
        negative="style.text_negative",
    ),
    "a styler of a text": like_base(
        text_to_image(
            text=PLAIN,
            style=node("SDXLPromptStyler", text_positive="@text", text_negative="ugly", style="base"),
            pos=node("CLIPTextEncode", text="@style", clip="@ckpt:1"),
            neg=node("CLIPTextEncode", text="@style:1", clip="@ckpt:1"),
        ),
        prompt="text.value",
        negative="style.text_negative",
    ),
    "wildcards": like_base(
        behind(text=node("ImpactWildcardProcessor", mode="populate", **WILDCARDS)), prompt="text.wildcard_text"
    ),
    "wildcards that were filled in": like_base(
        behind(text=node("ImpactWildcardProcessor", mode="fixed", **WILDCARDS)), prompt="text.populated_text"
    ),
    "an encoder of wildcards": like_base(
        text_to_image(
            pos=node("ImpactWildcardEncode", model="@ckpt", clip="@ckpt:1", mode="populate", **WILDCARDS),
            sampler=sampler(model="@pos", positive="@pos:2"),
        ),
        prompt="pos.wildcard_text",
    ),
    "an encoder of both sides": like_base(
        wan(node("WanVideoTextEncode", positive_prompt="a house", negative_prompt="ugly", t5="@t5")), WAN
    ),
    "an encoder of both sides with a linked text": like_base(
        wan(node("WanVideoTextEncode", positive_prompt="@text", negative_prompt="ugly", t5="@t5"), text=PLAIN),
        WAN,
        prompt="text.value",
    ),
    "two spellings of one text": like_base(
        text_to_image(
            text=PLAIN,
            pos=node("CLIPTextEncodeSDXL", clip="@ckpt:1", width=1024, height=1024, text_g="@text", text_l="@text"),
        ),
        prompt="text.value",
    ),
    "two spellings": encoded(
        node("CLIPTextEncodeSDXL", clip="@ckpt:1", width=1024, height=1024, text_g="a house", text_l="a house"),
        "text_g",
        "text_l",
    ),
    "three spellings": encoded(
        node("CLIPTextEncodeSD3", clip="@ckpt:1", clip_l="a house", clip_g="a house", t5xxl="a house"),
        "clip_l",
        "clip_g",
        "t5xxl",
    ),
    "two spellings with guidance": encoded(
        node("CLIPTextEncodeFlux", clip="@ckpt:1", clip_l="a house", t5xxl="a house", guidance=3.5),
        "clip_l",
        "t5xxl",
        guidance="pos.guidance",
    ),
    "the user's text beside the system's": encoded(
        node("CLIPTextEncodeLumina2", system_prompt="superior", user_prompt="a house", clip="@ckpt:1"), "user_prompt"
    ),
    "an encoder of a language model": encoded(node("MZ_ChatGLM3", text="a house", chatglm3_model="@ckpt:1"), "text"),
    "tags and lyrics": encoded(
        node("TextEncodeAceStepAudio", clip="@ckpt:1", tags="pop", lyrics="la la", lyrics_strength=1.0), "tags"
    ),
    "an encoder with images": like_base(
        text_to_image(
            photo=node("LoadImage", image="photo.png"),
            pos=node("TextEncodeQwenImageEditPlus", clip="@ckpt:1", prompt="in winter", image1="@photo"),
        ),
        prompt="pos.prompt",
        image="photo.image",
    ),
    "a text that is both": like_base(
        behind(text=PLAIN, neg=node("CLIPTextEncode", text="@text", clip="@ckpt:1")), prompt="text.value", negative=None
    ),
    "two texts in one conditioning": like_base(
        text_to_image(
            other=node("CLIPTextEncode", text="best quality", clip="@ckpt:1"),
            both=node("ConditioningConcat", conditioning_to="@other", conditioning_from="@pos"),
            sampler=sampler(positive="@both"),
        ),
        prompt=None,
        candidates={"prompt": "other.text pos.text"},
    ),
    "two texts in one conditioning, one of them titled": like_base(
        text_to_image(
            pos=node("CLIPTextEncode", text="a house", clip="@ckpt:1", title="Positive Prompt"),
            other=node("CLIPTextEncode", text="best quality", clip="@ckpt:1", title="Quality"),
            both=node("ConditioningConcat", conditioning_to="@other", conditioning_from="@pos"),
            sampler=sampler(positive="@both"),
        )
    ),
    "a text for the whole image and one for a part": like_base(
        text_to_image(
            other=node("CLIPTextEncode", text="a lake", clip="@ckpt:1"),
            area=node("ConditioningSetArea", conditioning="@other", width=256, height=256, x=0, y=0, strength=1.0),
            both=node("ConditioningCombine", conditioning_1="@area", conditioning_2="@pos"),
            sampler=sampler(positive="@both"),
        )
    ),
    "an enhancer that looks at an image": like_base(
        behind(
            text=PLAIN,
            photo=node("LoadImage", image="photo.png"),
            glue=node(
                "LTXVGemmaEnhancePrompt", clip="@ckpt:1", prompt="@text", system_prompt="Be brief.", image="@photo"
            ),
        ),
        prompt="text.value",
        image="photo.image",
    ),
    "a captioner that is asked a linked question": like_base(
        behind(
            text=node("PrimitiveStringMultiline", value="What is it?"),
            photo=node("LoadImage", image="photo.png"),
            glue=node("SomeCaptioner", image="@photo", prompt="@text", seed=1),
        ),
        prompt=None,
        image="photo.image",
        candidates={"prompt": "text.value pos.text"},
    ),
    "an order of execution": like_base(
        text_to_image(
            order=node("ImpactExecutionOrderController", signal="@pos", value="@ckpt:2"),
            sampler=sampler(positive="@order"),
        )
    ),
    "a caption and a text": like_base(
        behind(
            text=PLAIN,
            photo=node("LoadImage", image="photo.png"),
            caption=node("SomeCaptioner", image="@photo", prompt="Describe it.", seed=1),
            glue=node("StringConcatenate", string_a="@caption", string_b="@text", delimiter=", "),
            latent=node("VAEEncode", pixels="@photo", vae="@ckpt:2"),
        ),
        NO_SIZE,
        prompt=None,
        image="photo.image",
        candidates={"prompt": "text.value pos.text"},
    ),
}

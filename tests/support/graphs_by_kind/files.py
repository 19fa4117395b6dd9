"""7. Files that an item brings: images, videos, audio."""

from __future__ import annotations

from typing import Any

from support.built_graphs import node, sampler, text_to_image
from support.graphs_by_kind.case import Case, like_base, only

CLASSES = {
    "LoadVideo": "file:COMBO^video -> VIDEO",
    "GetVideoComponents": "video:VIDEO -> IMAGE/images AUDIO/audio FLOAT/fps",
    "VHS_LoadVideo": "video:COMBO force_rate:FLOAT custom_width:INT custom_height:INT frame_load_cap:INT -> IMAGE"
    " INT/frame_count AUDIO/audio",
    "VHS_LoadVideoPath": "video:STRING force_rate:FLOAT -> IMAGE INT/frame_count AUDIO/audio",
    "LoadAudio": "audio:COMBO^audio -> AUDIO",
    "VHS_LoadAudioUpload": "audio:COMBO start_time:FLOAT duration:FLOAT -> AUDIO",
    "VHS_VideoCombine": "images:IMAGE frame_rate:FLOAT filename_prefix:STRING format:COMBO save_output:BOOLEAN"
    " audio:AUDIO? ->* VHS_FILENAMES",
    "CreateVideo": "images:IMAGE fps:FLOAT audio:AUDIO? -> VIDEO",
    "SaveVideo": "video:VIDEO filename_prefix:STRING format:COMBO codec:COMBO ->*",
    "ReActorFaceSwap": "input_image:IMAGE swap_model:COMBO source_image:IMAGE? -> IMAGE FACE_MODEL",
    "ImageInvert": "image:IMAGE -> IMAGE",
    "ImageBatch": "image1:IMAGE image2:IMAGE -> IMAGE",
    "SomeLipSync": "images:IMAGE audio:AUDIO seed:INT! -> IMAGE",
    "CustomLoader": "picture:COMBO^image clip:COMBO^video -> IMAGE",
}
COMBINE = node("VHS_VideoCombine", images="@work", frame_rate=16.0, filename_prefix="v", save_output=True)
PHOTO = node("LoadImage", image="photo.png")
OTHER = node("LoadImage", image="other.png")
VIDEO = node("VHS_LoadVideo", video="clip.mp4", force_rate=0.0, custom_width=0, custom_height=0, frame_load_cap=0)
PREFIX = "save.filename_prefix"


def worked(save: dict[str, Any] = COMBINE, **nodes: dict[str, Any]) -> dict[str, Any]:
    """Without a sampler: what is loaded is worked on and saved."""
    return nodes | {"save": save}


def inverted(loader: dict[str, Any], name: str, at: str) -> Case:
    """One file, inverted."""
    graph = worked(file=loader, work=node("ImageInvert", image="@file"))
    return only(graph, prefix=PREFIX, **{name: at})


def to_video(class_type: str = "WanFirstLastFrameToVideo", **images: str) -> dict[str, Any]:
    """Frames of a video, and what is between them."""
    size: dict[str, Any] = {"width": 832, "height": 480, "length": 81, "batch_size": 1}
    return text_to_image(
        photo=PHOTO,
        other=OTHER,
        latent=node(class_type, positive="@pos", negative="@neg", vae="@ckpt:2", **size, **images),
        sampler=sampler(positive="@latent", negative="@latent:1", latent_image="@latent:2"),
    )


CASES = {
    "an image": inverted(PHOTO, "image", "file.image"),
    "a video that the server takes": only(
        worked(
            file=node("LoadVideo", file="clip.mp4"),
            parts=node("GetVideoComponents", video="@file"),
            work=node("ImageInvert", image="@parts"),
            film=node("CreateVideo", images="@work", fps=16.0, audio="@parts:1"),
            save=node("SaveVideo", video="@film", filename_prefix="v", format="auto", codec="auto"),
        ),
        video="file.file",
        prefix=PREFIX,
    ),
    "a video as frames": inverted(VIDEO, "video", "file.video"),
    "a video of a path on the server": only(
        worked(
            file=node("VHS_LoadVideoPath", video="/data/clip.mp4", force_rate=0.0),
            work=node("ImageInvert", image="@file"),
        ),
        prefix=PREFIX,
    ),
    "two videos": only(
        worked(
            one=VIDEO,
            two=node("VHS_LoadVideo", video="other.mp4", force_rate=0.0),
            work=node("ImageBatch", image1="@one", image2="@two"),
        ),
        prefix=PREFIX,
        candidates={"video": "one.video two.video"},
    ),
    "one video, loaded twice": only(
        worked(one=VIDEO, two=VIDEO, work=node("ImageBatch", image1="@one", image2="@two")),
        prefix=PREFIX,
        video="one.video two.video",
    ),
    "a face and what it says": only(
        worked(
            photo=PHOTO,
            voice=node("LoadAudio", audio="voice.mp3"),
            work=node("SomeLipSync", images="@photo", audio="@voice", seed=5),
        ),
        image="photo.image",
        audio="voice.audio",
        seed="work.seed",
        prefix=PREFIX,
    ),
    "a video and what it says": only(
        worked(
            clip=VIDEO,
            voice=node("VHS_LoadAudioUpload", audio="voice.mp3", start_time=0.0, duration=0.0),
            work=node("SomeLipSync", images="@clip", audio="@voice", seed=5),
        ),
        video="clip.video",
        audio="voice.audio",
        seed="work.seed",
        prefix=PREFIX,
    ),
    "a loader that only the server knows": only(
        worked(file=node("CustomLoader", picture="a.png", clip="b.mp4"), work=node("ImageInvert", image="@file")),
        image="file.picture",
        video="file.clip",
        prefix=PREFIX,
        by_names={"image": None, "video": None},
    ),
    "first and last frame": like_base(to_video(start_image="@photo", end_image="@other"), image="photo.image"),
    "two images for an encoder": like_base(
        text_to_image(
            photo=PHOTO,
            other=OTHER,
            pos=node(
                "TextEncodeQwenImageEditPlus", clip="@ckpt:1", prompt="in winter", image1="@photo", image2="@other"
            ),
        ),
        prompt="pos.prompt",
        image="photo.image",
    ),
    "two images of equal standing": like_base(
        text_to_image(
            photo=PHOTO,
            other=OTHER,
            one=node("ControlNetApplyAdvanced", image="@photo", positive="@pos", negative="@neg", strength=1.0),
            two=node("ControlNetApplyAdvanced", image="@other", positive="@one", negative="@one:1", strength=1.0),
            sampler=sampler(positive="@two", negative="@two:1"),
        ),
        candidates={"image": "photo.image other.image"},
    ),
    "an image to work on, and one for its looks": like_base(
        text_to_image(
            photo=PHOTO,
            other=OTHER,
            apply=node("IPAdapterAdvanced", model="@ckpt", image="@other", weight=0.8),
            sampler=sampler(model="@apply"),
            latent=node("VAEEncode", pixels="@photo", vae="@ckpt:2"),
        ),
        {"width": None, "height": None, "batch_size": None},
        image="photo.image",
    ),
    "a face for another image": only(
        worked(
            photo=PHOTO,
            other=OTHER,
            work=node("ReActorFaceSwap", input_image="@photo", source_image="@other", swap_model="s.onnx"),
            save=node("SaveImage", images="@work", filename_prefix="x"),
        ),
        image="photo.image",
        prefix=PREFIX,
    ),
}

"""Record what a real ComfyUI answers, for the tests to replay: `tests/data/exchanges_VERSION.json`.

usage: python tests/sandbox/record.py URL FILE [--assets]

It asks what was recorded of 0.3.64 (but for what needs a model), and about jobs, ids and intermediate outputs. The
server must be fresh, with an empty base directory; from a checkout of ComfyUI:
    python main.py --cpu --disable-api-nodes --disable-all-custom-nodes --base-directory EMPTY --port PORT
`--assets` adds to FILE what one that also has `--enable-assets` answers about files; it needs a fresh one of its own.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import sys
import threading
from pathlib import Path
from typing import Any

from PIL import Image

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from support.recorded import CLIENT, HEADERS, RECORDED  # noqa: E402
from support.replay import PICTURE, Replay  # noqa: E402
from support.sandbox_client import Client, Listener, eventually  # noqa: E402

Cases = dict[str, Any]
_NEEDS_A_MODEL = ("history success, text to image", "ws text to image (KSampler progress)")
_SLOW_SIZE = 1536
"""Pixels: one blur of these takes a second, so that what is asked meanwhile is answered in time."""
_SLOW_NODE, _WITHIN_SECONDS = "2", 0.5
_UNKNOWN = "e5591324-6639-42cf-a211-3ae417f1524f"
_DONE, _FAILED = "954be33e-63a7-4487-974d-03c1e46594a8", "e5fe46c1-2415-402a-a0d1-0227cddfd2b7"
_RUNNING, _DELETED = "54ccdcaa-49a6-4e88-93fc-50665d2df0f1", "3718e9d8-5363-4f3a-896e-9ee5d99dc72c"
_CROPPED, _CROPPED_AGAIN = "1f0ad5a3-0e0c-4b8f-9d0e-3a0d8b7d6a11", "2b6c1f0e-5c55-4f4e-8f5c-7a2a0c9b5d22"
_PREVIEWED = "3c7d2e1f-6d66-4a5f-9a6d-8b3b1d0c6e33"
_KEYED = "4d8e3f20-7e77-4b60-8b7e-9c4c2e1d7f44"
_CANCELLED = tuple(f"5e9f4031-8f88-4c71-9c8f-0d5d3f2e80{number}5" for number in range(4))
_PICTURE_PIXELS = (512, 512)


def _get(path: str) -> Cases:
    return {"request": {"method": "GET", "path": path, "json": None}, "response": {}}


def _post(path: str, body: Any) -> Cases:
    return {"request": {"method": "POST", "path": path, "json": body}, "response": {}}


def _node(class_type: str, **inputs: Any) -> Cases:
    return {"class_type": class_type, "inputs": inputs}


def _canvas(color: int, *, size: int = 64) -> Cases:
    return _node("EmptyImage", width=size, height=size, batch_size=1, color=color)


def _saved(source: str, prefix: str) -> Cases:
    return _node("SaveImage", images=[source, 0], filename_prefix=prefix)


def _slow(number: int, prompt_id: str) -> list[Any]:
    """A queue's entry."""
    graph = {
        "1": _canvas(50_000 + number, size=_SLOW_SIZE),
        "2": _node("ImageBlur", image=["1", 0], blur_radius=15, sigma=3.0),
        "3": _saved("2", "burst/slow"),
    }
    return [0, prompt_id, graph, {"client_id": CLIENT}, ["3"]]


def _cropping(prefix: str) -> Cases:
    region = {"x": 0, "y": 0, "width": 32, "height": 32}
    return {
        "1": _canvas(77),
        "2": _node("ImageCropV2", image=["1", 0], crop_region=region),
        "3": _node("ImageInvert", image=["2", 0]),
        "9": _saved("3", prefix),
    }


def _submit(prompt_id: object, graph: Cases, **more: Any) -> Cases:
    return _post("/prompt", {"prompt": graph, "prompt_id": prompt_id, "client_id": CLIENT, **more})


def _heard(prompt_id: str) -> Cases:
    return {"messages": [{"type": "executing", "data": {"node": None, "prompt_id": prompt_id}}]}


def _added() -> dict[str, Cases]:
    """What is asked besides, by the case that it follows."""
    simple = {"1": _canvas(5), "9": _saved("1", "burst/id")}
    previewed = {"1": _canvas(78), "5": _node("PreviewImage", images=["1", 0]), "9": _saved("1", f"burst/{_PREVIEWED}")}
    keys = {"api_key_comfy_org": "a key", "auth_token_comfy_org": "a token", "mine": {"a": [1]}}
    first, second, third, last = _CANCELLED
    return {
        "history unknown id": {"job unknown": _get(f"/api/jobs/{_UNKNOWN}"), "jobs, none": _get("/api/jobs")},
        "ws success": {"job completed": _get(f"/api/jobs/{_DONE}")},
        "submit without prompt": {
            "submit prompt_id in capitals": _submit("954BE33E-63A7-4487-974D-03C1E46594A8", simple),
            "submit prompt_id without hyphens": _submit("954be33e63a74487974d03c1e46594a8", simple),
            "submit prompt_id that is a word": _submit("mine", simple),
            "submit prompt_id that is empty": _submit("", simple),
            "submit prompt_id that is a number": _submit(7, simple),
            "submit prompt_id that is null": _submit(None, simple),
        },
        "ws error": {"job failed": _get(f"/api/jobs/{_FAILED}")},
        "prompt info while busy": {
            "job in progress": _get(f"/api/jobs/{_RUNNING}"),
            "job pending": _get(f"/api/jobs/{_DELETED}"),
            "jobs pending and in progress": _get("/api/jobs?status=pending,in_progress"),
            "jobs of an unknown status": _get("/api/jobs?status=lunch"),
        },
        "queue delete pending": {"job of a deleted pending prompt": _get(f"/api/jobs/{_DELETED}")},
        "history interrupted": {"job cancelled": _get(f"/api/jobs/{_RUNNING}")},
        "history max_items": {
            "submit with an intermediate output": _submit(_CROPPED, _cropping(f"burst/{_CROPPED}")),
            "history success, intermediate output": _get(f"/history/{_CROPPED}"),
            "ws intermediate output": _heard(_CROPPED),
            "submit with an intermediate output that is cached": _submit(
                _CROPPED_AGAIN, _cropping(f"burst/{_CROPPED_AGAIN}")
            ),
            "history success, cached intermediate output": _get(f"/history/{_CROPPED_AGAIN}"),
            "ws cached intermediate output": _heard(_CROPPED_AGAIN),
            "job with a cached intermediate output": _get(f"/api/jobs/{_CROPPED_AGAIN}"),
            "submit with a preview": _submit(_PREVIEWED, previewed),
            "job with a preview": _get(f"/api/jobs/{_PREVIEWED}"),
            "submit with keys in extra_data": _submit(_KEYED, simple, extra_data=keys),
            "history success, keys in extra_data": _get(f"/history/{_KEYED}"),
            "queue before jobs are cancelled": _get("/queue")
            | {
                "response": {
                    "body": {
                        "queue_running": [_slow(0, first)],
                        "queue_pending": [_slow(1, second), _slow(2, third), _slow(3, last)],
                    }
                }
            },
            "cancel a pending job": _post(f"/api/jobs/{second}/cancel", {}),
            "cancel several jobs": _post("/api/jobs/cancel", {"job_ids": [third, last, _UNKNOWN]}),
            "cancel several jobs, one is no UUID": _post("/api/jobs/cancel", {"job_ids": [first, "mine"]}),
            "cancel without a list": _post("/api/jobs/cancel", {"jobs": [first]}),
            "interrupt by cancelling the running job": _post(f"/api/jobs/{first}/cancel", {}),
            "cancel a finished job": _post(f"/api/jobs/{first}/cancel", {}),
            "cancel an unknown job": _post(f"/api/jobs/{_UNKNOWN}/cancel", {}),
            "cancel several jobs, none is there": _post("/api/jobs/cancel", {"job_ids": [first, _UNKNOWN]}),
            "history of a job cancelled while running": _get(f"/history/{first}"),
            "history of a job cancelled while pending": _get(f"/history/{second}"),
            "queue after jobs were cancelled": _get("/queue"),
        },
        "object_info EmptyImage": {
            f"object_info {name}": _get(f"/object_info/{name}")
            for name in ("ImageCropV2", "ImageBlur", "PreviewAny", "RegexReplace", "LoadImageMask")
        },
    }


def _questions() -> Cases:
    """The cases of 0.3.64 that need no model, and in between what is asked besides."""
    old = json.loads(json.dumps(RECORDED).replace(": 2048", f": {_SLOW_SIZE}"))
    added, found = _added(), {}
    for name, case in old.items():
        if name not in _NEEDS_A_MODEL:
            found[name] = case
            found |= added.pop(name, {})
    assert not added, f"they follow no case: {list(added)}"
    return found


def _asset_questions() -> Cases:
    graph, prompt_id = {"1": _canvas(11), "9": _saved("1", f"burst/{_DONE}")}, _DONE
    return {
        "submit where assets are kept": _submit(prompt_id, graph),
        "history success, outputs with assets": _get(f"/history/{prompt_id}"),
        "job with assets": _get(f"/api/jobs/{prompt_id}"),
        "upload image, with assets": RECORDED["upload image"],
    }


def _plain(value: Any) -> Any:
    """Without what is about this machine: paths of source files, and of the server's own directories."""
    if isinstance(value, dict):
        found = {key: _plain(each) for key, each in value.items()}
        if isinstance(found.get("argv"), list):
            found["argv"] = ["main.py", *(flag for flag in ("--cpu", "--disable-api-nodes") if flag in found["argv"])]
        return found
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return re.sub(r'File "[^"]*/', 'File "/', value) if isinstance(value, str) else value


def _response(answer: Any) -> Cases:
    headers = {name: answer.headers[name] for name in HEADERS if name in answer.headers}
    kind = answer.headers.get("Content-Type", "")
    if "json" in kind:
        body: Any = _plain(answer.json())
    elif "text" in kind or not answer.content:
        body = answer.text
    else:
        body = f"<{len(answer.content)} bytes>"
    return {"status": answer.status_code, "headers": headers, "body": body}


def _picture(client: Client) -> bytes:
    """An image in the input folder, under a name that every server has."""
    data = io.BytesIO()
    Image.new("RGB", _PICTURE_PIXELS, "teal").save(data, "PNG")
    client.post("/upload/image", files={"image": (PICTURE, data.getvalue(), "image/png")})
    return data.getvalue()


def _node_in_work(listener: Listener) -> str | None:
    nodes = [each["data"]["node"] for each in listener.messages if each["type"] == "executing"]
    return nodes[-1] if nodes else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("file", type=Path)
    parser.add_argument("--assets", action="store_true")
    options = parser.parse_args()
    document = json.loads(options.file.read_text()) if options.assets else {"server": "", "cases": {}}
    questions = _asset_questions() if options.assets else _questions()
    with Client(options.url.rstrip("/")) as client, Listener(client.url, CLIENT) as listener:
        version = client.get("/system_stats").json()["system"]["comfyui_version"]

        def pace(seconds: float) -> None:
            """Interrupt in the middle of a node: between two, it depends on the moment what is told."""
            if not seconds:
                eventually(lambda: _node_in_work(listener) == _SLOW_NODE, what="a node that takes long")
                threading.Event().wait(_WITHIN_SECONDS)

        replay = Replay(client, listener, questions, picture=_picture(client), pace=pace)
        replay.play()
        for name, case in questions.items():
            if name in replay.answers:
                document["cases"][name] = {"request": case["request"], "response": _response(replay.answers[name])}
            else:
                about = {"request": case["request"]} if "request" in case else {}
                document["cases"][name] = {**about, "messages": _plain(replay.heard[name])}
    document["server"] = f"ComfyUI {version}, --cpu"
    options.file.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    print(f"{len(document['cases'])} cases of ComfyUI {version}: {options.file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

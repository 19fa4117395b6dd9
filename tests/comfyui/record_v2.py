"""Records what a Comfy API v2 server answers: `python -m tests.comfyui.record_v2 URL >tests/data/api_v2.json`.

Meant for `comfy-api-proxy` before a ComfyUI without models: it renders a few small images there.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections.abc import Mapping
from typing import Any

import requests

_IMAGE: dict[str, Any] = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 8421504}},
    "2": {"class_type": "ImageAddNoise", "inputs": {"image": ["1", 0], "seed": 1, "strength": 0.5}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "burst/recorded/9"}},
}
_SECONDS = 60.0


def _seeded(seed: int, *, blurs: int = 0) -> dict[str, Any]:
    """`blurs`: how often the image is blurred, about a quarter of a second each."""
    graph = json.loads(json.dumps(_IMAGE))
    graph["2"]["inputs"]["seed"] = seed
    if blurs:
        graph["1"]["inputs"] |= {"width": 512, "height": 512}
    for number in range(blurs):
        source = str(99 + number) if number else "2"
        inputs = {"image": [source, 0], "blur_radius": 15, "sigma": 3.0}
        graph[str(100 + number)] = {"class_type": "ImageBlur", "inputs": inputs}
        graph["9"]["inputs"]["images"] = [str(100 + number), 0]
    return graph  # type: ignore[no-any-return]


class Recorder:
    """The exchanges so far, by name."""

    def __init__(self, url: str) -> None:
        self.cases: dict[str, Any] = {}
        self._url = url

    def ask(self, method: str, path: str, *, name: str | None = None, **more: Any) -> Any:
        """The JSON of an answer; kept under a name, where one is given."""
        answer = requests.request(method, self._url + path, timeout=30, allow_redirects=False, **more)
        body = answer.json() if "json" in answer.headers.get("Content-Type", "") else f"{len(answer.content)} bytes"
        if name is not None:
            shown = ("Content-Type", "Content-Length", "Content-Range", "Accept-Ranges", "Retry-After", "Location")
            headers = {key: answer.headers[key] for key in shown if key in answer.headers}
            request = {"method": method, "path": path, "headers": more.get("headers", {}), "body": more.get("json")}
            response = {"status": answer.status_code, "headers": headers, "body": body}
            self.cases[name] = {"request": request, "response": response}
        return body

    def submit(self, graph: Mapping[str, Any], *, name: str | None = None, key: str | None = None) -> Any:
        key = key or str(uuid.uuid4())
        body = {"workflow": graph, "metadata": key}
        return self.ask("POST", "/api/v2/jobs", name=name, headers={"Idempotency-Key": key}, json=body)

    def until(self, job: str, *statuses: str) -> None:
        until = time.monotonic() + _SECONDS
        while (found := self.ask("GET", f"/api/v2/jobs/{job}"))["status"] not in statuses:
            assert time.monotonic() < until, found
            time.sleep(0.02)


def record(url: str) -> dict[str, Any]:
    """One exchange after the other."""
    here = Recorder(url)
    seed = uuid.uuid4().int % (1 << 40)
    here.ask("GET", "/api/v2/health", name="health")
    here.ask("GET", f"/api/v2/jobs/{uuid.uuid4()}", name="job_unknown")
    here.ask("POST", f"/api/v2/jobs/{uuid.uuid4()}/cancel", name="cancel_unknown", json={})
    key = str(uuid.uuid4())
    job = here.submit(_seeded(seed), name="submit", key=key)["id"]
    here.submit(_seeded(seed), name="submit_same_key", key=key)
    here.until(job, "succeeded")
    done = here.ask("GET", f"/api/v2/jobs/{job}", name="job_succeeded")
    here.ask("GET", f"/api/v2/jobs/{job}/workflow", name="job_workflow")
    here.ask("GET", "/api/v2/jobs?limit=2", name="jobs_listed")
    content = f"/api/v2/assets/{done['outputs'][0]['id']}/content"
    here.ask("GET", content, name="content")
    here.ask("GET", content, name="content_range", headers={"Range": "bytes=100-"})
    here.ask("GET", "/api/v2/assets/unknown/content", name="content_unknown")
    long, waiting = here.submit(_seeded(seed + 1, blurs=30))["id"], here.submit(_seeded(seed + 2))["id"]
    here.until(long, "running")
    here.ask("GET", f"/api/v2/jobs/{long}", name="job_running")
    here.ask("GET", f"/api/v2/jobs/{waiting}", name="job_queued")
    here.ask("POST", f"/api/v2/jobs/{waiting}/cancel", name="cancel_queued", json={})
    here.ask("GET", f"/api/v2/jobs/{waiting}", name="job_canceled_while_queued")
    here.ask("POST", f"/api/v2/jobs/{long}/cancel", name="cancel_running", json={})
    here.until(long, "canceled")
    here.ask("GET", f"/api/v2/jobs/{long}", name="job_canceled_while_running")
    failing = _seeded(seed + 3)
    failing["4"] = {
        "class_type": "RegexReplace",
        "inputs": {
            "string": "a",
            "regex_pattern": "(",
            "replace": "b",
            "case_insensitive": True,
            "multiline": False,
            "dotall": False,
            "count": 0,
        },
    }
    failing["5"] = {"class_type": "PreviewAny", "inputs": {"source": ["4", 0]}}
    failed = here.submit(failing)["id"]
    here.until(failed, "failed", "succeeded")
    here.ask("GET", f"/api/v2/jobs/{failed}", name="job_failed")
    bad = _seeded(seed + 4)
    bad["2"]["inputs"]["strength"] = 7.5
    here.submit(bad, name="submit_bad_value")
    unknown = _seeded(seed + 5)
    unknown["2"]["class_type"] = "NoSuchNode"
    here.submit(unknown, name="submit_unknown_class")
    here.submit({"nodes": [], "links": []}, name="submit_ui_format")
    picture = requests.get(f"{url}{content}", timeout=30).content
    form = {"file_path": "input/burst/recorded.png", "content_type": "image/png"}
    file = {"file": ("recorded.png", picture, "image/png")}
    asset = here.ask("POST", "/api/v2/assets", name="upload", data=form, files=file)
    here.ask("POST", "/api/v2/assets", name="upload_again", data=form, files=file)
    reference = {"__type": "core/ASSET", "info": {"id": asset["id"]}}
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": reference}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "burst/recorded/l"}},
    }
    job = here.submit(graph, name="submit_with_asset")["id"]
    here.until(job, "succeeded")
    gone = {"__type": "core/ASSET", "info": {"id": str(uuid.uuid4())}}
    graph["1"]["inputs"]["image"] = gone  # type: ignore[index]
    here.submit(graph, name="submit_missing_asset")
    extra = {"workflow": _seeded(seed + 6), "extra_data": {"burst": {}}}
    here.ask("POST", "/api/v2/jobs", name="submit_other_extra_data", json=extra)
    here.ask("GET", "/api/prompt", name="no_comfyui")
    return {"cases": here.cases}


if __name__ == "__main__":
    json.dump(record(sys.argv[1].rstrip("/")), sys.stdout, indent=1)
    sys.stdout.write("\n")

"""The sandbox held against a real ComfyUI of a version that it imitates: one conversation with both, answer by answer,
beyond the recorded cases.
"""

from __future__ import annotations

import io
import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from PIL import Image
from support.real_graphs import Graph, node, noise, quick, searching, slow
from support.real_server import RealServer
from support.sandbox_client import Listener
from support.waiting import wait_until

from orchestrator.sandbox import Sandbox, SandboxSettings
from orchestrator.sandbox.newer_catalogue import newer_classes
from orchestrator.sandbox.settings import VERSIONS

OF_ANY_VALUE = {
    "timestamp",
    "traceback",
    "number",
    "tooltip",
    "description",
    "create_time",
    "execution_start_time",
    "execution_end_time",
    "search_aliases",
    "output_tooltips",
}
"""Keys whose values are the server's own; only their types are compared."""
_OF_CHANCE = re.compile(r"ComfyUI_temp_[a-z]{5}_\d+_")
NEEDS_FILES = ("LoadImage", "LoadImageMask")
"""Classes that list the files of their server."""
IN_ANY_ORDER = {"executed", "current_outputs", "nodes"}
"""Lists that ComfyUI makes from a set."""


class Conversation:
    """Asks one server; what it answers is kept, with prompt_ids replaced by names."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: dict[str, Any] = {}
        self._names: dict[str, str] = {}
        self._session = requests.Session()

    def close(self) -> None:
        self._session.close()

    def prompt_id(self, name: str) -> str:
        """A new one, known by this name."""
        prompt_id = str(uuid.uuid4())
        self._names[prompt_id] = name
        return prompt_id

    def ask(self, name: str, method: str, path: str, **more: Any) -> Any:
        """Ask and keep the answer; its body."""
        answer = self._session.request(method, self.url + path, timeout=30, **more)
        kind = answer.headers.get("Content-Type", "").partition(";")[0]
        body: Any = answer.json() if kind == "application/json" else answer.text if "text" in kind else kind
        self.answers[name] = (answer.status_code, kind, self.plain(body))
        return body

    def submit(self, name: str, graph: Graph, **more: Any) -> str:
        prompt_id = self.prompt_id(name)
        self.ask(f"submit {name}", "POST", "/prompt", json={"prompt": graph, "prompt_id": prompt_id, **more})
        return prompt_id

    def finished(self, prompt_id: str) -> None:
        wait_until(lambda: self._get(f"/history/{prompt_id}"), what=f"{self._names[prompt_id]} is in the history")

    def idle(self) -> None:
        wait_until(lambda: self._get("/prompt")["exec_info"]["queue_remaining"] == 0, what="nothing waits or runs")

    def runs(self, prompt_id: str) -> None:
        wait_until(
            lambda: [entry[1] for entry in self._get("/queue")["queue_running"]] == [prompt_id],
            what=f"{self._names[prompt_id]} runs",
        )

    def plain(self, value: Any, key: str = "") -> Any:
        """The value with names for ids, and nothing in it that two servers need not share."""
        if key in OF_ANY_VALUE:
            return type(value).__name__ if value is not None else None
        if isinstance(value, dict):
            return {self._named(name): self.plain(inner, name) for name, inner in value.items()}
        if isinstance(value, list):
            found = [self.plain(inner) for inner in value]
            return sorted(found) if key in IN_ANY_ORDER else found
        return self._named(value) if isinstance(value, str) else value

    def _named(self, text: str) -> str:
        for prompt_id, name in self._names.items():
            text = text.replace(prompt_id, f"<{name}>")
        return _OF_CHANCE.sub("ComfyUI_temp_*_", re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "<new id>", text))

    def _get(self, path: str) -> Any:
        return self._session.get(self.url + path, timeout=30).json()


def seeded(graph: Graph, seed: int) -> Graph:
    return graph | {"2": node("ImageAddNoise", image=["1", 0], seed=seed, strength=0.5)}


def submitting(talk: Conversation) -> None:
    """Numbers, ids, extra data, and what is refused."""
    talk.submit("numbered", seeded(quick(), 1), number=5)
    talk.submit("fractional", seeded(quick(), 2), number=7.25)
    talk.submit("numbered in words", seeded(quick(), 3), number="9")
    talk.submit("in front", seeded(quick(), 4), front=True)
    talk.submit("with a client", seeded(quick(), 5), client_id="somebody", extra_data={"mine": {"a": [1]}})
    talk.submit("for one output", seeded(quick(), 6), partial_execution_targets=["9"])
    talk.idle()
    for name in ("empty body", "no prompt"):
        talk.ask(name, "POST", "/prompt", json={} if name == "empty body" else {"prompt_id": "x"})
    talk.ask("an empty prompt", "POST", "/prompt", json={"prompt": {}})
    talk.submit("nothing is saved", noise())
    talk.submit("an unknown node", quick() | {"7": node("NoSuchNode", images=["2", 0])})
    talk.submit("no class", quick() | {"7": {"inputs": {}}})
    talk.submit("a wrong width", quick() | {"1": node("EmptyImage", width=0, height=64, batch_size=1, color=0)})
    talk.submit("a width in words", quick() | {"1": node("EmptyImage", width="x", height=64, batch_size=1, color=0)})
    talk.submit("a missing input", quick() | {"1": node("EmptyImage", width=64, height=64, color=0)})
    talk.submit("a link to nowhere", quick() | {"9": node("SaveImage", images=["77", 0], filename_prefix="p")})
    talk.submit("a link of a wrong type", quick() | {"9": node("SaveImage", images=["5", 0], filename_prefix="p")})
    talk.submit("no such picture", {
        "1": node("LoadImage", image="no-such.png"),
        "9": node("SaveImage", images=["1", 0], filename_prefix="p"),
    })  # fmt: skip


def queueing(talk: Conversation) -> None:
    """The order of the queue, deleting from it, interrupting, clearing."""
    first = talk.submit("first", seeded(slow(), 11))
    talk.runs(first)
    graph = seeded(quick(), 12)
    last = talk.submit("number 30", graph, number=30)
    talk.submit("number 20", graph, number=20)
    talk.submit("number 10 in front", graph, number=10, front=True)
    queue = talk.ask("queue", "GET", "/queue")
    ids = [entry[1] for entry in sorted(queue["queue_pending"])]
    talk.answers["order"] = [talk.plain(prompt_id) for prompt_id in ids]
    talk.ask("queue over /api", "GET", "/api/queue")
    talk.ask("how many wait", "GET", "/prompt")
    talk.ask("a waiting prompt's history", "GET", f"/history/{last}")
    talk.ask("a running prompt's history", "GET", f"/history/{first}")
    talk.ask("interrupt one that waits", "POST", "/interrupt", json={"prompt_id": last})
    talk.ask("interrupt an unknown one", "POST", "/interrupt", json={"prompt_id": str(uuid.uuid4())})
    talk.ask("interrupt with no JSON", "POST", "/interrupt", json={"prompt_id": 7})
    talk.ask("still running", "GET", "/queue")
    talk.ask("delete one that waits", "POST", "/queue", json={"delete": [last]})
    talk.ask("delete one that runs", "POST", "/queue", json={"delete": [first]})
    talk.ask("delete an unknown one", "POST", "/queue", json={"delete": [str(uuid.uuid4())]})
    talk.ask("queue with one deleted", "GET", "/queue")
    talk.ask("clear", "POST", "/queue", json={"clear": True})
    talk.ask("queue when cleared", "GET", "/queue")
    talk.ask("interrupt the running one", "POST", "/interrupt", json={"prompt_id": first})
    talk.finished(first)
    talk.ask("the interrupted one", "GET", f"/history/{first}")
    message = talk.answers["the interrupted one"][2]["<first>"]["status"]["messages"][-1][1]
    for where in ("node_id", "node_type", "executed"):
        message[where] = type(message[where]).__name__
    talk.ask("a deleted one", "GET", f"/history/{last}")
    talk.ask("interrupt when nothing runs", "POST", "/interrupt", json={})
    talk.idle()
    after = talk.submit("after an idle interrupt", seeded(quick(), 13))
    talk.finished(after)
    talk.ask("after an idle interrupt", "GET", f"/history/{after}")


def history(talk: Conversation) -> None:
    """What is kept of prompts, how much of it is given, and forgetting."""
    talk.ask("forget everything", "POST", "/history", json={"clear": True})
    talk.ask("an empty history", "GET", "/history")
    ids = []
    for number in range(4):
        ids.append(talk.submit(f"entry {number}", seeded(quick(), 20 + number), extra_data={"burst": {"item": "k"}}))
        talk.finished(ids[-1])
    for name, query in (
        ("whole", ""),
        ("max 2", "?max_items=2"),
        ("max 0", "?max_items=0"),
        ("max 99", "?max_items=99"),
        ("offset 1", "?offset=1"),
        ("max 2 offset 1", "?max_items=2&offset=1"),
        ("max 2 offset 0", "?max_items=2&offset=0"),
    ):
        body = talk.ask(f"history, {name}", "GET", f"/history{query}")
        talk.answers[f"order, {name}"] = [talk.plain(prompt_id) for prompt_id in body]
    again = talk.submit("equal to the last", seeded(quick(), 23))
    talk.finished(again)
    talk.ask("answered from the cache", "GET", f"/history/{again}")
    talk.ask("the same id again", "POST", "/prompt", json={"prompt": seeded(quick(), 24), "prompt_id": ids[0]})
    talk.idle()
    talk.ask("history of an id used twice", "GET", f"/history/{ids[0]}")
    talk.ask("forget one", "POST", "/history", json={"delete": [ids[1]]})
    talk.ask("forget an unknown one", "POST", "/history", json={"delete": [str(uuid.uuid4())]})
    talk.ask("a forgotten one", "GET", f"/history/{ids[1]}")
    failed = talk.submit(
        "raises", {"4": searching()["4"] | {"inputs": searching()["4"]["inputs"] | {"regex_pattern": "("}}}
        | {"5": searching()["5"]},
    )  # fmt: skip
    talk.finished(failed)
    entry = talk.ask("a failed one", "GET", f"/history/{failed}")
    talk.answers["its traceback"] = type(entry[failed]["status"]["messages"][-1][1]["traceback"]).__name__


def files(talk: Conversation) -> None:
    """What /view and /upload answer."""
    graph = seeded(quick(batch=2), 31) | {
        "9": node("SaveImage", images=["2", 0], filename_prefix=f"talk/{uuid.uuid4().hex}"),
        "11": node("PreviewImage", images=["2", 0]),
    }
    done = talk.submit("saves and shows", graph)
    talk.finished(done)
    outputs = talk._get(f"/history/{done}")[done]["outputs"]
    saved, shown = outputs["9"]["images"], outputs["11"]["images"]
    talk.answers["counts"] = [len(saved), len(shown), [one["type"] for one in saved + shown]]
    talk.answers["shown as"] = [re.sub(r"_temp_[a-z]{5}_", "_temp_*_", one["filename"]) for one in shown]
    for name, given in (
        ("saved", saved[0]),
        ("second saved", saved[1]),
        ("shown", shown[0]),
        ("shown, looked for in output", shown[0] | {"type": "output"}),
        ("of an unknown type", saved[0] | {"type": "elsewhere"}),
        ("without a type", {"filename": saved[0]["filename"], "subfolder": "talk"}),
        ("missing", saved[0] | {"filename": "missing.png"}),
        ("outside", saved[0] | {"subfolder": "../.."}),
        ("a name outside", saved[0] | {"filename": "../x.png"}),
        ("an absolute name", saved[0] | {"filename": "/etc/hostname"}),
        ("no name", {"type": "output"}),
        ("a preview", saved[0] | {"preview": "webp;80"}),
        ("one channel", saved[0] | {"channel": "a"}),
        ("a directory", {"filename": "talk", "type": "output"}),
    ):
        talk.ask(f"view {name}", "GET", "/view", params=given)
    for name, span in (("first bytes", "bytes=0-9"), ("the rest", "bytes=100-"), ("too far", "bytes=99999999-")):
        talk.ask(f"view {name}", "GET", "/view", params=saved[0], headers={"Range": span})
    data = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(data, "PNG")
    other = io.BytesIO()
    Image.new("RGB", (8, 8), "blue").save(other, "PNG")
    for name, content, fields in (
        ("new", data, {}),
        ("the same again", data, {}),
        ("another by its name", other, {}),
        ("over it", other, {"overwrite": "true"}),
        ("into a folder", data, {"subfolder": "a/b"}),
        ("as temp", data, {"type": "temp"}),
        ("outside", data, {"subfolder": "../.."}),
    ):
        sent = {"image": ("talk.png", content.getvalue(), "image/png")}
        talk.ask(f"upload {name}", "POST", "/upload/image", files=sent, data=fields)
    talk.ask("upload nothing", "POST", "/upload/image", data={"subfolder": "a"})
    talk.ask("view an upload", "GET", "/view", params={"filename": "talk.png", "type": "input"})


def asking(talk: Conversation) -> None:
    """The small questions."""
    talk.ask("features", "GET", "/features")
    talk.ask("models", "GET", "/models")
    talk.ask("an unknown folder of models", "GET", "/models/nothing")
    talk.ask("an unknown node", "GET", "/object_info/NoSuchNode")
    for name in newer_classes():
        if name not in NEEDS_FILES:
            talk.ask(f"what {name} takes", "GET", f"/object_info/{name}")
    talk.ask("free", "POST", "/free", json={"unload_models": True, "free_memory": True})
    talk.ask("embeddings", "GET", "/embeddings")
    for name, page in (("an unknown job", f"/api/jobs/{uuid.uuid4()}"), ("no such page", "/api/no-such")):
        talk.ask(name, "GET", page)
        talk.answers[name] = talk.answers[name][0]
    talk.ask("a body that is no JSON", "POST", "/prompt", data=b"{", headers={"Content-Type": "application/json"})


def jobs(talk: Conversation) -> None:
    """What is waiting, runs, has ended; cancelling. An older version answers to all of it as to any unknown page."""
    talk.ask("forget everything", "POST", "/history", json={"clear": True})
    done = talk.submit("done", seeded(quick(), 51))
    talk.finished(done)
    running = talk.submit("running", seeded(slow(), 52), number=1)
    talk.runs(running)
    waiting, second, last = (
        talk.submit(f"waiting {one}", seeded(quick(), 53 + one), number=2 + one) for one in range(3)
    )
    unknown = talk.prompt_id("unknown")
    for name, query in (
        ("all", ""),
        ("unfinished", "?status=pending,in_progress"),
        ("one page", "?limit=2&offset=1"),
        ("oldest first", "?sort_order=asc"),
        ("by duration", "?sort_by=execution_duration&status=completed"),
        ("of no status", "?status=lunch"),
        ("limit 0", "?limit=0"),
        ("limit x", "?limit=x"),
        ("offset x", "?offset=x"),
        ("offset -1", "?offset=-1&status=completed"),
        ("sorted by name", "?sort_by=name"),
        ("sorted down", "?sort_order=down"),
    ):
        _of_jobs(talk, f"jobs, {name}", "GET", f"/api/jobs{query}")
    for name, prompt_id in (("done", done), ("running", running), ("waiting", waiting), ("unknown", unknown)):
        _of_jobs(talk, f"job {name}", "GET", f"/api/jobs/{prompt_id}")
    for name, body in (
        ("none", {}),
        ("a text", {"job_ids": running}),
        ("a number", {"job_ids": [7]}),
        ("no UUID", {"job_ids": [waiting, "x"]}),
        ("an empty list", {"job_ids": []}),
        ("done and unknown", {"job_ids": [done, unknown]}),
        ("two that wait", {"job_ids": [waiting, second, unknown]}),
    ):
        _of_jobs(talk, f"cancel {name}", "POST", "/api/jobs/cancel", json=body)
    _of_jobs(talk, "cancel without JSON", "POST", "/api/jobs/cancel", data=b"{")
    talk.ask("queue with two cancelled", "GET", "/queue")
    for name, prompt_id in (
        ("waiting", last),
        ("done", done),
        ("unknown", unknown),
        ("word", "x"),
        ("running", running),
    ):
        _of_jobs(talk, f"cancel one that is {name}", "POST", f"/api/jobs/{prompt_id}/cancel")
    talk.ask("interrupt it where there are no jobs", "POST", "/interrupt", json={"prompt_id": running})
    talk.idle()
    _of_jobs(talk, "the cancelled one", "GET", f"/api/jobs/{waiting}")
    talk.answers["how the running one ended"] = _end_of(talk, running)


def _of_jobs(talk: Conversation, name: str, method: str, page: str, **more: Any) -> None:
    """The body only where there is one of a job."""
    talk.ask(name, method, page, **more)
    status, kind, _ = talk.answers[name]
    if kind != "application/json":
        talk.answers[name] = status


def _end_of(talk: Conversation, prompt_id: str) -> Any:
    return talk._get(f"/history/{prompt_id}")[prompt_id]["status"]["messages"][-1][0]


def hearing(talk: Conversation) -> None:
    """The websocket's messages about prompts, in their order."""
    client_id = "who-listens"
    graph = seeded(quick(), 61)
    crop = node("ImageCropV2", image=["2", 0], crop_region={"x": 0, "y": 0, "width": 32, "height": 32})
    shown = {"7": node("PreviewAny", source=["4", 0])} | {"4": searching()["4"]}
    wrong = {"4": searching()["4"] | {"inputs": searching()["4"]["inputs"] | {"regex_pattern": "("}}, "7": shown["7"]}
    graphs = {"new": graph, "cached": graph, "text": shown, "raises": wrong}
    if talk._get("/object_info/ImageCropV2"):
        cropped = graph | {"8": crop}
        saved = [node("SaveImage", images=["8", 0], filename_prefix=f"crop/{letter}") for letter in "ab"]
        graphs |= {"in between": cropped | {"9": saved[0]}, "cached in between": cropped | {"9": saved[1]}}
    with Listener(talk.url, client_id) as listener:
        for name, one in graphs.items():
            prompt_id = talk.submit(name, one, client_id=client_id)
            listener.wait_for_end(prompt_id)
            talk.answers[f"heard of {name}"] = talk.plain(listener.of(prompt_id))
            talk.ask(f"history of {name}", "GET", f"/history/{prompt_id}")


@pytest.fixture(scope="module")
def sandbox(own_server: RealServer) -> Iterator[Sandbox]:
    """Of the real server's version; of another one, the version that is like it."""
    version = requests.get(f"{own_server.url}/system_stats", timeout=30).json()["system"]["comfyui_version"]
    has_jobs = requests.get(f"{own_server.url}/api/jobs", timeout=30).status_code == 200
    settings = SandboxSettings(
        comfyui_version=version if version in VERSIONS else VERSIONS[has_jobs],
        checkpoints=(),
        loras=(),
        vaes=(),
        upscale_models=(),
    )
    with Sandbox(settings) as running:
        yield running


@pytest.mark.parametrize(
    "talk_about", [submitting, queueing, history, files, asking, jobs, hearing], ids=lambda talk: talk.__name__
)
def test_the_sandbox_answers_as_the_real_one(
    own_server: RealServer, sandbox: Sandbox, talk_about: Callable[[Conversation], None]
) -> None:
    sandbox.change(seconds_per_prompt=3.0 if talk_about in (queueing, jobs) else 0.0)
    heard = []
    for url in (own_server.url, sandbox.url):
        talk = Conversation(url)
        try:
            talk_about(talk)
        finally:
            talk.close()
        heard.append(talk.answers)
    real, ours = heard
    assert list(real) == list(ours)
    different = {name: (real[name], ours[name]) for name in real if real[name] != ours[name]}
    assert not different, "\n".join(f"{name}\n  real    {a}\n  sandbox {b}" for name, (a, b) in different.items())

"""The tools of `burst mcp`, called by the SDK's client in this process; bursts are processes, as always."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import anyio
import pytest
from mcp import Client
from mcp_types import CallToolResult, ImageContent, TextContent
from PIL import Image

from orchestrator.mcp_server.picture import LONGEST_SIDE, MOST_BYTES
from orchestrator.mcp_server.responses import MOST_CHARACTERS, bounded, text_of
from orchestrator.mcp_server.server import build
from orchestrator.mcp_server.tools import Served
from orchestrator.sandbox import Sandbox, SandboxSettings
from orchestrator.settings import Overrides
from state.item import Status
from state.open_store import open_store, parts_of

_T = TypeVar("_T")
PROMPTS = ["a fox", "a dog", "an owl"]
HOST_ONLY = {
    "server",
    "servers",
    "output",
    "output_dir",
    "notify",
    "header",
    "headers",
    "then",
    "restart",
    "allow_spend",
}
"""What only the one who starts the server may say."""


class Agent:
    """What an agent is told by the tools of one server."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The document that a call is answered with. Fails for an error."""
        result = await self.result(tool, **arguments)
        assert not result.is_error, result.content
        return read(result)

    async def refused(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The error that a call is answered with."""
        result = await self.result(tool, **arguments)
        assert result.is_error, result.content
        error: dict[str, Any] = read(result)["error"]
        return error

    async def result(self, tool: str, **arguments: Any) -> CallToolResult:
        result = await self.client.call_tool(tool, arguments)
        assert isinstance(result, CallToolResult)
        return result


def read(result: CallToolResult) -> dict[str, Any]:
    first = result.content[0]
    assert isinstance(first, TextContent)
    assert len(first.text) <= MOST_CHARACTERS
    document: dict[str, Any] = json.loads(first.text)
    return document


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxSettings()) as running:
        yield running


@pytest.fixture
def served(tmp_path: Path, sandbox: Sandbox) -> Served:
    home = tmp_path / "project"
    home.mkdir()
    tools = Overrides(servers=(sandbox.url,), template="smoke", output_dir=home / "out")
    return Served(home / "re_render_state.json", tools, (home,))


def run_alone(work: Callable[[], Awaitable[_T]]) -> _T:
    """On a thread of its own: on this one, a browser of other tests may have an event loop."""
    with ThreadPoolExecutor(max_workers=1) as alone:
        return alone.submit(anyio.run, work).result()


def talk(served: Served, session: Callable[[Agent], Awaitable[None]]) -> None:
    async def talking() -> None:
        server, _ = build(served)
        async with Client(server) as client:
            await session(Agent(client))

    run_alone(talking)


def test_a_session_from_nothing_to_the_report(served: Served, sandbox: Sandbox) -> None:
    before = sum(sandbox.counts()["rendered"].values())

    async def session(agent: Agent) -> None:
        assert (await agent.call("status"))["total"] == 0
        added = await agent.call("add_prompts", name="zoo", prompts=PROMPTS)
        assert (added["total"], added["continued"]) == (3, False)
        assert (await agent.call("add_prompts", name="zoo", prompts=PROMPTS))["batch"] == added["batch"]
        found: list[dict[str, Any]] = []

        async def burst() -> None:
            found.append(await agent.call("run_burst", items=5))

        async with anyio.create_task_group() as group:
            group.start_soon(burst)
            group.start_soon(burst)
        busy, report = sorted(found, key=lambda one: "schema" in one)
        assert busy["running"]["max_seconds"] == 30
        assert "a burst is at work" in busy["next"]
        assert (report["completed"], report["remaining"], report["exit_code"]) == (3, 0, 0)
        assert (await agent.call("wait"))["counts"]["completed"] == 3
        again = await agent.call("add_prompts", name="zoo", prompts=PROMPTS)
        assert (again["batch"], again["remaining"]) == (added["batch"], 0), "also when it is done"
        items = (await agent.call("list_items", batch="zoo"))["items"]
        assert [one["prompt"] for one in items] == PROMPTS
        assert all(one["images"][0].endswith(".png") and len(one["images"]) == 1 for one in items)
        facts, image = (await agent.result("look", item=items[0]["item"])).content
        assert isinstance(image, ImageContent)
        assert image.mime_type == "image/jpeg"
        assert Image.open(io.BytesIO(base64.b64decode(image.data))).size == (256, 256)
        assert isinstance(facts, TextContent)
        page = await agent.call("report", batch="zoo")
        assert Path(page["path"]).parent == served.state.parent
        assert page["images"] == 3
        assert (await agent.call("retry", names=["zoo"]))["items"] == []
        state, batch = [
            (await agent.client.read_resource(uri)).contents[0] for uri in ("burst://state", "burst://batches/zoo")
        ]
        assert '"completed":3' in str(state)
        assert '"name":"zoo"' in str(batch)

    talk(served, session)
    assert sum(sandbox.counts()["rendered"].values()) - before == 3


def test_the_same_name_with_other_prompts_is_refused_and_adds_nothing(served: Served) -> None:
    async def session(agent: Agent) -> None:
        await agent.call("add_prompts", name="zoo", prompts=PROMPTS)
        error = await agent.refused("add_prompts", name="zoo", prompts=[*PROMPTS, "a newt"])
        assert error["kind"] == "RequestConflict"
        assert "name='zoo'" in error["message"]
        assert (await agent.call("status"))["total"] == 3

    talk(served, session)


def test_a_table_by_its_text_or_its_file_and_a_folder_of_images(served: Served) -> None:
    home = served.state.parent
    (home / "list.csv").write_text("prompt,seed\na fox,1\nan owl,2\n")
    (home / "photos").mkdir()
    Image.new("RGB", (8, 8)).save(home / "photos" / "a.png")

    async def session(agent: Agent) -> None:
        first = await agent.call("add_table", name="typed", csv="prompt,seed\na fox,1\nan owl,2\n")
        assert (await agent.call("add_table", name="typed", csv="prompt,seed\na fox,1\nan owl,2\n"))["total"] == 2
        assert (await agent.call("add_table", name="file", file="list.csv"))["total"] == first["total"] == 2
        assert "file and csv" in (await agent.refused("add_table", name="none"))["message"]
        bad = await agent.refused("add_table", name="bad", csv="prompt,sede\na fox,1\n")
        assert "sede" in bad["message"]
        assert (await agent.call("cancel", names=["typed"]))["items_total"] == 2
        assert (await agent.call("retry", names=["typed"], cancelled=True))["items_total"] == 2

    talk(served, session)
    inverted = Served(served.state, Overrides(servers=served.overrides.servers, template="smoke-image"), served.roots)

    async def images(agent: Agent) -> None:
        assert (await agent.call("add_images", directory="photos"))["added"] == 1
        assert (await agent.call("add_images", directory="photos"))["added"] == 0

    talk(inverted, images)


def test_files_elsewhere_are_refused_whether_they_are_there_or_not(served: Served, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("prompt\nhidden\n")
    (tmp_path / "private").mkdir()
    (served.state.parent / "link.csv").symlink_to(tmp_path / "secret.csv")

    async def session(agent: Agent) -> None:
        for name in ("../secret.csv", str(tmp_path / "secret.csv"), "link.csv", "../nothing.csv", "/etc/passwd"):
            error = await agent.refused("add_table", name="a", file=name)
            assert f"only files below {served.state.parent} may be read" in error["message"]
        assert "may be read" in (await agent.refused("add_images", directory="../private"))["message"]
        assert (
            "may be read"
            in (await agent.refused("add_prompts", name="a", prompts=["x"], template="../w.json"))["message"]
        )
        table = f"prompt,image\na fox,{tmp_path / 'secret.csv'}\n"
        assert (await agent.refused("add_table", name="a", csv=table, template="smoke-image"))["kind"] == "UsageError"

    talk(served, session)
    talk(Served(served.state, served.overrides, ()), _nothing_may_be_read)
    assert not served.state.exists()


async def _nothing_may_be_read(agent: Agent) -> None:
    assert "no files may be read here" in (await agent.refused("add_table", name="a", file="list.csv"))["message"]


def test_lists_come_by_pages(served: Served) -> None:
    async def session(agent: Agent) -> None:
        await agent.call("add_prompts", name="many", prompts=[f"fox {number}" for number in range(25)])
        seen: list[str] = []
        offset: int | None = 0
        while offset is not None:
            page = await agent.call("list_items", offset=offset, limit=10)
            seen += [one["prompt"] for one in page["items"]]
            offset = page["next_offset"]
        assert seen == [f"fox {number}" for number in range(25)]
        assert (await agent.call("list_items", status="failed")) == {"items": [], "next_offset": None}
        assert (await agent.call("list_items", offset=99))["items"] == []
        for number in range(3):
            await agent.call("add_prompts", name=f"one{number}", prompts=["a fox"])
        first = await agent.call("list_batches", limit=3)
        assert (len(first["batches"]), first["total"], first["next_offset"]) == (3, 4, 3)
        assert (await agent.call("list_batches", offset=3))["next_offset"] is None

    talk(served, session)


def test_every_tool_tells_what_it_does_and_none_sets_what_is_the_hosts(served: Served) -> None:
    async def session(agent: Agent) -> None:
        tools = {tool.name: tool for tool in (await agent.client.list_tools()).tools}
        hints = {name: tool.annotations for name, tool in tools.items()}
        assert all(hint is not None and hint.idempotent_hint for hint in hints.values())
        assert {name for name, hint in hints.items() if hint and hint.read_only_hint} == {
            *("status", "wait", "list_items", "list_batches", "list_workflows", "look", "doctor"),
        }
        assert {name for name, hint in hints.items() if hint and hint.destructive_hint} == {"cancel"}
        assert all(tool.description for tool in tools.values())
        given = {field for tool in tools.values() for field in tool.input_schema.get("properties", {})}
        assert given & HOST_ONLY == set()

    talk(served, session)


@pytest.mark.parametrize("more", [{"then": "train"}, {"sets": {"then": "train"}}], ids=["a field", "a value"])
def test_no_call_has_a_command_run_once_a_batch_is_done(served: Served, more: dict[str, Any]) -> None:
    async def session(agent: Agent) -> None:
        await agent.result("add_prompts", name="zoo", prompts=PROMPTS, **more)
        await agent.result("add_table", name="rows", csv="prompt,then\na fox,train\n")

    talk(served, session)
    batches = parts_of(served.state).batches.read().values()
    assert [batch.record.then for batch in batches] == [None] * len(batches)


def test_a_call_ends_in_time_whatever_it_waits_for() -> None:
    async def hangs() -> CallToolResult:
        await anyio.sleep_forever()
        raise AssertionError

    async def calling() -> CallToolResult:
        with anyio.fail_after(10):
            return await bounded(hangs, seconds=0.05)()

    result = run_alone(calling)
    assert result.is_error
    assert read(result)["error"]["kind"] == "TransientError"
    assert read(result)["exit_code"] == 75


def test_an_unexpected_error_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    async def breaks() -> CallToolResult:
        raise KeyError("broken")

    result = run_alone(bounded(breaks, seconds=5))
    assert result.is_error
    assert read(result)["error"]["kind"] == "Crashed"
    assert "KeyError: 'broken'" in read(result)["error"]["message"]


@pytest.mark.parametrize(
    "document",
    [
        {"text": "x" * 100_000},
        {"list": [{"message": "y" * 500}] * 500},
        {"deep": {"list": [["z" * 50] * 200] * 20}},
    ],
)
def test_a_long_answer_is_cut_and_says_so(document: dict[str, object]) -> None:
    text = text_of(document)
    assert len(text) <= MOST_CHARACTERS
    assert "list_items" in json.loads(text)["cut"]
    assert " more)" in text


def test_a_short_answer_stays_as_it_is() -> None:
    assert json.loads(text_of({"a": ["b"]})) == {"a": ["b"]}


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_a_large_picture_is_shrunk(served: Served, mode: str) -> None:
    home = served.state.parent
    noise = Image.effect_noise((1200, 800), 100)
    (home / "out").mkdir()
    noise.convert(mode).save(home / "out" / "a.png")
    data = (home / "out" / "a.png").read_bytes()
    output = {"path": "a.png", "bytes": len(data), "sha256": "0" * 64}
    served.state.write_text(json.dumps({"a": {"status": "completed", "outputs": [output]}, "b": {"status": "pending"}}))

    async def session(agent: Agent) -> None:
        _, image = (await agent.result("look", item="a")).content
        assert isinstance(image, ImageContent)
        kept = base64.b64decode(image.data)
        assert len(kept) <= MOST_BYTES
        assert max(Image.open(io.BytesIO(kept)).size) == LONGEST_SIDE
        assert "has no image" in (await agent.refused("look", item="b"))["message"]
        assert "no item 'c'" in (await agent.refused("look", item="c"))["message"]
        assert "from 1 to 1" in (await agent.refused("look", item="a", image=2))["message"]
        (home / "out" / "a.png").write_bytes(data[:-500])
        assert "not an image" in (await agent.refused("look", item="a"))["message"]
        (home / "out" / "a.png").unlink()
        assert "not there any more" in (await agent.refused("look", item="a"))["message"]

    talk(Served(served.state, Overrides(output_dir=home / "out"), ()), session)


def test_a_burst_ends_with_the_server(served: Served, sandbox: Sandbox) -> None:
    """The client goes while a burst is at work: the burst stops, and its items keep their places."""

    async def begins(agent: Agent) -> None:
        await agent.call("add_prompts", name="zoo", prompts=PROMPTS)
        sandbox.hold()
        with anyio.move_on_after(30):
            async with anyio.create_task_group() as group:
                group.start_soon(agent.result, "run_burst")
                while not (await agent.call("status"))["counts"]["submitted"]:
                    await anyio.sleep(0.05)
                group.cancel_scope.cancel()

    try:
        talk(served, begins)
    finally:
        sandbox.release()
    with open_store(served.state, read_only=True) as store:
        assert not store.is_leased()
        assert {item.status for item in store.items()} <= {Status.PENDING, Status.SUBMITTED, Status.COMPLETED}

"""Addresses and layouts: any text is an address or refused, and no two items ever share a file."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, cast

from hypothesis import example, given
from hypothesis import strategies as st
from support.damaged_json import LONE_SURROGATE
from support.fast_disk import FastDisk, contents

from orchestrator.comfyui import ComfyUI, OutputText
from orchestrator.errors import ItemError, SettingsError, TemplateError
from orchestrator.outputs import Outputs, verify
from orchestrator.outputs.ownership import sha256_of
from orchestrator.servers import canonical_name, parse_server, same_server
from templates import load_workflow, resolve, shipped_workflows

SECRET = "s3cr3tpassw0rd"
HOSTS = st.sampled_from(
    ["127.0.0.1", "[::1]", "[::", "host", "ho st", "", "ä.example", "1.2.3.4.5", "[v1.x]", "a" * 70]
)
URLS = st.builds(
    "{}{}{}{}{}".format,
    st.sampled_from(["", "http://", "https://", "HTTP://", "ftp://", "//", "http:/", "http:"]),
    st.sampled_from(["", "user@", f"user:{SECRET}@", f":{SECRET}@", f"u%2Fs:{SECRET}%40@", f"a@b:{SECRET}@", "@"]),
    HOSTS,
    st.sampled_from(["", ":8188", ":0", ":99999", ":-1", ":x", f":{SECRET}", ":", ":٨"]),
    st.sampled_from(["", "/", "/prefix/", "/a/../b", "/@", "?q", "#f", "/\x00", "/ä", "\\"]),
)


@given(text=URLS | st.text(max_size=20))
@example(text="http://[")
@example(text=f"http:/127.0.0.1:{SECRET}")
@example(text="http://host\uff03x")
@example(text=f"http://{LONE_SURROGATE}")
@example(text=f"http://user:{LONE_SURROGATE}@host")
def test_any_text_is_a_server_s_address_or_refused(text: str) -> None:
    """What is shown of it holds no password, and what is kept of it says the same again."""
    try:
        server = parse_server(text)
    except SettingsError as error:
        message = str(error)
        assert SECRET not in message
        assert message.encode()
        return
    assert SECRET not in server.name + server.url + repr(server)
    assert parse_server(server.full).full == server.full
    assert server.is_at(server.full)
    assert same_server(server.name, canonical_name(server.name))
    assert (server.name + server.url).encode()
    with ComfyUI(server.full) as client:
        assert client.url == server.url


@given(name=st.sampled_from(shipped_workflows()), data=st.data())
def test_any_text_is_a_node_s_address_or_refused(name: str, data: st.DataObject) -> None:
    graph = load_workflow(name).graph
    spelled = [f"{node_id}.{each}" for node_id, node in graph.items() for each in node["inputs"]]
    pieces = st.sampled_from([*spelled, *graph, ".", "=", "title=", "class=", "KSampler", "seed", "", ","])
    address = data.draw(st.lists(pieces, max_size=4).map("".join) | st.text(max_size=12))
    try:
        node_id, each = resolve(graph, address)
    except TemplateError as error:
        message = str(error)
        assert message.encode()
    else:
        assert each in graph[node_id]["inputs"]
        assert resolve(graph, f"{node_id}.{each}") == (node_id, each)


WORDS = st.sampled_from(
    [
        "a",
        "A",
        "a_002",
        "a_003",
        "a.txt",
        "a_002.txt",
        "ä",
        "a\u0308",
        "..",
        ".",
        "",
        "con",
        "x" * 250,
        "b c",
        "a.b",
        "~",
    ]
)
FOLDERS = st.lists(WORDS, max_size=2).map("/".join)
ITEMS = st.lists(st.tuples(FOLDERS, WORDS, st.integers(1, 3)), min_size=2, max_size=6)


@given(layout=ITEMS)
@example(layout=[("", "a", 2), ("", "a_002", 1)])
@example(layout=[("", "a_002", 1), ("", "a", 2)])
@example(layout=[("", "a", 1), ("a.txt", "b", 1)])
@example(layout=[("a.txt", "b", 1), ("", "a", 1)])
@example(layout=[("x", "A", 1), ("X", "a", 1)])
@example(layout=[("", LONE_SURROGATE, 1), (LONE_SURROGATE, "a", 1)])
def test_no_two_items_share_a_file_and_none_is_outside(layout: list[tuple[str, str, int]]) -> None:
    """Each item's outputs are all placed, or it is refused and nothing of it is left."""
    with tempfile.TemporaryDirectory() as name:
        outputs = Outputs(Path(name) / "out", disk=FastDisk())
        owners: dict[Path, int] = {}
        placed: list[Any] = []
        for number, (subfolder, filename, count) in enumerate(layout):
            texts = [OutputText("1", "text", f"item {number}, output {each}") for each in range(count)]
            try:
                fetched = outputs.fetch(
                    cast(ComfyUI, None),
                    [],
                    texts,
                    subfolder=subfolder,
                    filename=filename,
                    prompt_id=f"prompt-{number}",
                    own=[],
                )
            except ItemError as error:
                message = str(error)
                assert message.encode()
                continue
            (outcome,) = outputs.place([fetched])
            if isinstance(outcome, list):
                placed += [one.as_record() for one in outcome]
                owners |= {one.path: number for one in outcome}
        assert len(owners) == len(placed)
        assert verify(outputs.output_dir, placed, full=True) == []
        found = contents(Path(name))
        assert {outputs.output_dir / path for path in owners} == set(found)
        assert all(sha256_of(path) and path.resolve().is_relative_to(outputs.output_dir) for path in found)

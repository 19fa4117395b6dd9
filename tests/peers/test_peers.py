"""The comparison counts what it says it counts, and its page shows what was seen. No client, no ComfyUI."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from support.comfyui_loopback import Loopback, Request
from support.waiting import wait_until

from tests.peers import HERE, environments, job, table
from tests.peers.__main__ import FIGURES, _parser
from tests.peers.catalogue import CLIENTS
from tests.peers.client_process import ClientProcess
from tests.peers.faulty_proxy import FaultyProxy, break_off, hold_the_answer, lose_the_answer, refuse
from tests.peers.scenarios import SCENARIOS


def put(path: Path, item: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    color = job.color_of(item)
    Image.new("RGB", (8, 8), (color >> 16, color >> 8 & 0xFF, color & 0xFF)).save(path)
    return path


def test_every_item_has_a_color_that_is_read_back(tmp_path: Path) -> None:
    assert [job.item_of(put(tmp_path / "a.png", item)) for item in range(1, job.ITEMS + 1)] == list(
        range(1, job.ITEMS + 1)
    )


def test_counts(tmp_path: Path) -> None:
    torn = put(tmp_path / "client" / job.name_of(3), 3)
    torn.write_bytes(torn.read_bytes()[:-20])
    client = [
        put(tmp_path / "client" / job.name_of(1), 1),
        put(tmp_path / "client" / job.name_of(2), 5),
        torn,
    ]
    server = [put(tmp_path / "server" / f"job_{number}.png", item) for number, item in enumerate((1, 1, 1, 2, 5))]
    counts = job.count(client, server)
    assert (counts.on_disk, counts.misnamed, counts.torn) == (1, 1, 1)
    assert (counts.rendered, counts.renders, counts.twice) == (3, 5, 2)


def test_an_image_of_something_else_is_no_item(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (40, 0, 0)).save(tmp_path / "other.png")
    assert job.item_of(tmp_path / "other.png") is None


def test_the_drivers_see_what_is_left(tmp_path: Path) -> None:
    job.write(tmp_path)
    put(tmp_path / "images" / job.name_of(7), 7)
    program = "import todo; print([(str(path), graph['1']['inputs']['color']) for path, graph in todo.left()])"
    done = subprocess.run(
        [sys.executable, "-c", program, "http://x"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(environments.DRIVERS)},
        capture_output=True,
        text=True,
        check=True,
    )
    expected = [(f"images/{job.name_of(item)}", job.color_of(item)) for item in range(1, job.ITEMS + 1) if item != 7]
    assert done.stdout.strip() == str(expected)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_every_client_has_its_driver_and_says_its_version(client) -> None:
    assert (environments.DRIVERS / client.driver).exists()
    assert all("==" in one or "@" in one[1:] for one in client.packages)
    by_hand = client.name in ("burst", "plain loop", "ComfyUI's websocket example")
    assert bool(client.released) != by_hand


def server_of(taken: list[str]) -> Loopback:
    def answer(request: Request) -> None:
        if request.method == "POST":
            taken.append(request.body.decode())
        request.json({})

    return Loopback(answer)


def post(url: str, body: str) -> int | None:
    """The status; None where the connection was lost."""
    import requests

    try:
        return requests.post(f"{url}/prompt", data=body, timeout=10).status_code
    except requests.ConnectionError:
        return None


def test_the_proxy_disturbs_the_submissions_that_it_was_told_to() -> None:
    taken: list[str] = []
    faults = {2: refuse, 3: break_off, 4: lose_the_answer}
    with server_of(taken) as server, FaultyProxy(server.url, faults) as proxy:
        seen = [post(proxy.url, f"prompt {number}") for number in range(1, 6)]
        assert seen == [200, 500, None, None, 200]
        wait_until(lambda: len(taken) == 3)
    assert taken == ["prompt 1", "prompt 4", "prompt 5"]


def test_a_held_answer_is_that_of_a_prompt_that_the_server_has(tmp_path: Path) -> None:
    taken: list[str] = []
    program = "import requests, sys; requests.post(sys.argv[1] + '/prompt', data='prompt 1')"
    with server_of(taken) as server, FaultyProxy(server.url, {1: hold_the_answer}) as proxy:
        client = ClientProcess(
            [sys.executable, "-c", program, proxy.url], folder=tmp_path, env={}, log=tmp_path / "log"
        )
        proxy.wait_for_held()
        assert taken == ["prompt 1"]
        assert not client.ended
        client.kill()
        assert client.exit_code == -9


def test_what_a_client_costs_counts_its_children(tmp_path: Path) -> None:
    program = (
        "import subprocess, sys; subprocess.run([sys.executable, '-c',"
        " 'x = bytearray(60_000_000)\\nwhile __import__(\"time\").process_time() < 0.2: x[0] = 1'])"
    )
    client = ClientProcess([sys.executable, "-c", program], folder=tmp_path, env={}, log=tmp_path / "log")
    wait_until(lambda: client.ended)
    assert client.exit_code == 0
    assert client.cpu_seconds >= 0.2
    assert client.peak_bytes > 60_000_000


def test_the_page_shows_the_figures() -> None:
    page = table.PAGE.read_text()
    figures = json.loads(FIGURES.read_text())
    assert page == table.in_page(page, figures), "run: python -m tests.peers --table"
    for name in table.TABLES:
        assert f"<!-- table: {name} -->" in page


def test_the_figures_are_those_of_the_versions_in_the_catalogue() -> None:
    figures = json.loads(FIGURES.read_text())["clients"]
    assert set(figures) == {client.name for client in CLIENTS}
    assert [one for one in CLIENTS if one.name in figures and figures[one.name]["packages"] != list(one.packages)] == []
    measured = [one for one in figures.values() if "not_installed" not in one]
    assert all(set(one["outcomes"]) == set(SCENARIOS) for one in measured)
    assert "burst" in figures
    assert len(measured) >= 4


def test_the_commands_of_the_page_are_taken() -> None:
    commands = re.findall(r"^python -m tests.peers (.*)$", table.PAGE.read_text(), flags=re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        _parser().parse_args(shlex.split(command))


def test_a_cell_is_bold_only_where_all_are_there_and_none_twice_in_every_round() -> None:
    def cell(*rounds: tuple[int, int]) -> str:
        outcomes = [{"counts": {"on_disk": on_disk, "twice": twice}} for on_disk, twice in rounds]
        return table._kept(outcomes)

    assert cell((60, 0), (60, 0)) == "**60 / 0**"
    assert cell((60, 0), (60, 2)) == "60 / 0–2"
    assert cell((59, 0), (60, 0)) == "59–60 / 0"


def test_what_the_drivers_say_they_follow_is_the_catalogue() -> None:
    named = {client.driver for client in CLIENTS}
    present = {
        path.name for path in (HERE / "drivers").iterdir() if path.is_file() and not path.name.startswith("todo")
    }
    assert present == named

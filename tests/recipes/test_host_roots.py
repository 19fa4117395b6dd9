"""Output roots by names, which each host's configuration resolves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.background import in_background
from support.postgres import fresh_database
from support.projects import small_template
from support.two_hosts import MakeHost
from support.waiting import wait_until

from orchestrator.cycle.report import BurstReport
from orchestrator.cycle.request import Request
from orchestrator.cycle.run import Run
from orchestrator.errors import OutputRootUnusable, SettingsError, UsageError
from orchestrator.host_config import load_host_config
from orchestrator.init_state import InitReport, init_state
from orchestrator.kept_paths import kept_path
from orchestrator.places import UnknownRoot, root_at_home, root_named
from orchestrator.sandbox import Sandbox
from orchestrator.settings import Overrides, kept_settings
from orchestrator.status import read_status
from orchestrator.trashing import trash_images
from orchestrator.verify import verify_outputs
from state.item import Item, Status
from state.location import DatabaseAddress, Location
from state.open_store import open_store


def begin(state: Path, output: str, *, url: str = "http://127.0.0.1:9", count: int = 2) -> InitReport:
    """In the working directory: a template and prompts."""
    Path("template.json").write_text(json.dumps(small_template()))
    Path("prompts").mkdir(exist_ok=True)
    for number in range(count):
        Path("prompts", f"{number}.txt").write_text(f"view {number}")
    said = Overrides(template="template.json", output_dir=root_named(output), servers=(url,))
    return init_state(state, [Path("prompts")], overrides=said)


def run(state: Path) -> BurstReport:
    return Run(Request(state=state, poll_seconds=0.2, in_doubt_seconds=0.5)).execute()


def items(state: Path) -> list[Item]:
    with open_store(state, read_only=True) as store:
        return list(store.items())


def outputs(state: Path) -> set[str]:
    with open_store(state, read_only=True) as store:
        return {recipe.output for recipe in store.recipes.all().values()}


def test_a_name_or_a_path_below_the_root_is_kept_as_the_name(
    host: MakeHost, nas: Path, sqlite: DatabaseAddress, tmp_path: Path
) -> None:
    one = host("one")
    mounted = one.mount("shared", nas)
    one.be()
    for spelling in ("root://shared/out/a", f"{mounted}/out/a", f"{nas}/out/a/"):
        begin(sqlite, spelling)
        assert (outputs(sqlite), kept_settings(sqlite).output_dir) == ({"root://shared/out/a"}, mounted / "out" / "a")
    with open_store(sqlite, read_only=True) as store:
        assert 'output_dir = "root://shared/out/a"' in (store.settings.read() or "")


def test_another_host_finds_it_where_that_host_has_mounted_it(
    host: MakeHost, nas: Path, state: DatabaseAddress, sandbox: Sandbox
) -> None:
    one, other = host("one"), host("other")
    one.mount("shared", nas)
    other.mount("shared", nas)
    one.be()
    assert "for several hosts" not in begin(state, "root://shared/out", url=sandbox.url).as_text()
    other.be()
    report = run(state)
    assert (report.exit_code, report.completed) == (0, 2)
    assert report.as_json()["output_dirs"] == {str(other.path / "mnt/shared/out"): 2}
    assert len(list((nas / "out").rglob("*.png"))) == 2
    for each in (one, other):
        each.be()
        assert (verify_outputs(state).problems, read_status(state).counts.completed) == ((), 2)


def test_a_host_without_the_name_sets_the_items_aside_and_says_what_to_write_where(
    host: MakeHost, nas: Path, sqlite: DatabaseAddress, sandbox: Sandbox
) -> None:
    one, other = host("one"), host("other")
    one.mount("shared", nas)
    one.be()
    begin(sqlite, "root://shared/out", url=sandbox.url)
    other.be()
    for _ in range(2):
        report = run(sqlite)
        assert report.exit_code == 2
        assert "root://shared: this host has no root of this name" in report.as_text()
        assert f'{other.path}/etc/burst/host.toml, under [roots]: shared = "/its/directory"' in report.as_text()
    assert [(item.status, item.attempts) for item in items(sqlite)] == [(Status.PENDING, 0)] * 2
    assert sandbox.counts()["posts"] == 0
    assert read_status(sqlite).counts.pending == 2
    one.be()
    assert run(sqlite).completed == 2
    other.be()
    verified = verify_outputs(sqlite, repair=True, yes=True)
    assert [problem.kind for _, problem in verified.problems] == ["unknown"] * 2
    assert ("this host has no root of this name" in verified.as_text(), verified.put_back) == (True, ())
    assert "this host has no root of this name" in trash_images(sqlite, [items(sqlite)[0].key]).as_text()
    assert {item.status for item in items(sqlite)} == {Status.COMPLETED}
    other.mount("shared", nas)
    other.be()
    assert verify_outputs(sqlite).problems == ()


def test_what_another_host_has_out_stays_submitted_where_its_root_is_not_known(
    host: MakeHost, nas: Path, sqlite: DatabaseAddress, sandbox: Sandbox
) -> None:
    """The host that sent it is gone; it is rendered, and nobody here can place it."""
    one, other = host("one"), host("other")
    one.mount("shared", nas)
    one.be()
    begin(sqlite, "root://shared/out", url=sandbox.url, count=1)
    sandbox.hold("render")
    sent = Run(Request(state=sqlite, poll_seconds=0.2, in_doubt_seconds=0.5))
    with in_background(sent.execute):
        wait_until(lambda: items(sqlite)[0].accepted, what="the prompt")
        sent.request_stop()
    sandbox.release()
    other.be()
    for _ in range(2):
        assert "no root of this name" in run(sqlite).as_text()
        (item,) = items(sqlite)
        assert (item.status, item.attempts, item.error) == (Status.SUBMITTED, 0, None)
    one.be()
    assert (run(sqlite).completed, sandbox.counts()["posts"]) == (1, 1)


def test_a_root_that_is_not_mounted_is_not_made(host: MakeHost, nas: Path, tmp_path: Path) -> None:
    """Files would be where no other host sees them."""
    one = host("one")
    mounted = one.mount("shared", nas)
    nas.rename(tmp_path / "away")
    one.be()
    with pytest.raises(UsageError, match=r"root://shared: .*, which .*host.toml names, is not there; mount it"):
        root_named("root://shared/out")
    found = root_at_home("root://shared/out/a", tmp_path)
    assert (isinstance(found, UnknownRoot), str(found)) == (True, "root://shared/out/a")
    with pytest.raises(OutputRootUnusable, match="is not there"):
        (found / "b.png").stat()
    assert not mounted.exists()


def test_the_innermost_root_names_it_and_only_in_a_database(host: MakeHost, nas: Path, tmp_path: Path) -> None:
    one = host("one")
    (nas / "deep").mkdir()
    outer, _ = one.mount("outer", nas), one.mount("inner", nas / "deep")
    one.be()
    home = Location.of(f"sqlite:///{tmp_path}/db/burst.db").home
    assert kept_path(outer / "deep" / "x", home) == "root://inner/x"
    assert kept_path(outer / "deep", home) == "root://inner"
    assert kept_path(outer / "x", home) == "root://outer/x"
    assert kept_path(tmp_path / "db" / "x", home) == "x", "what lies beside a SQLite file moves with it"
    assert kept_path(outer / "deep" / "x", Path("/elsewhere")) == f"{outer}/deep/x", "a JSON state keeps paths"
    assert root_at_home("root://inner", home) == one.path / "mnt/inner"


def test_nothing_in_a_database_on_a_server_is_relative_to_a_working_directory(host: MakeHost, sandbox: Sandbox) -> None:
    """The next command may be called in another one."""
    state, one = DatabaseAddress(fresh_database()), host("one")
    one.be()
    report = begin(state, "out", url=sandbox.url)
    assert "of the host that renders them; for several hosts" in report.as_text()
    assert outputs(state) == {f"{one.work}/out"}
    assert {item.key for item in items(state)} == {f"{one.work}/prompts/{number}.txt" for number in range(2)}
    before = kept_settings(state)
    assert (before.output_dir, before.template) == (one.work / "out", f"{one.work}/template.json")
    host("other").be()
    assert kept_settings(state) == before
    assert run(state).completed == 2
    assert len(list((one.work / "out").rglob("*.png"))) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("roots = 3", "roots"),
        ("[roots]\nshared = 3", "roots"),
        ('[roots]\nshared = "mnt/nas"', "name an absolute directory"),
        ('[roots]\nshared = ""', "name an absolute directory"),
        ('[roots]\nshared = "s3://bucket/x"', "s3:// has one name everywhere"),
        ('[roots]\n"sha:red" = "/mnt"', "'sha:red' is not a name"),
    ],
)
def test_wrong_roots_are_named(host: MakeHost, text: str, said: str) -> None:
    one = host("one")
    config = one.path / "host.toml"
    config.write_text(text)
    one.be()
    with pytest.raises(SettingsError) as refused:
        load_host_config()
    assert str(refused.value).startswith(f"{config}: ")
    assert said in str(refused.value)

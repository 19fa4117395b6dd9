"""Items whose recipe names servers are rendered there and nowhere else, whatever servers a run uses by itself."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.recipe_project import RecipeProject
from support.waiting import wait_until

from orchestrator.sandbox import Sandbox, SandboxSettings
from state.item import Item, Status

FAST = ("--poll-interval", "0.2")


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Sandbox]:
    """A second server, which the project does not use by itself."""
    with Sandbox(directory=tmp_path / "other server") as running:
        yield running


@pytest.fixture
def begun(project: RecipeProject) -> RecipeProject:
    """A workflow, and three items that any server of a run may render."""
    project.workflow("a.json", steps=2)
    project.prompts("A", 3)
    project.call("init", "A", "--template", "a.json")
    return project


def queue(begun: RecipeProject, server: str, *, count: int = 2) -> list[str]:
    """A batch whose request names a server; the keys of its items."""
    before = {item.key for item in begun.items()}
    begun.call(
        *("generate", "--prompt", "a lighthouse", "--count", str(count)),
        *("--template", "a.json", "--queue-only", "--server", server, "--again"),
    )
    return [item.key for item in begun.items() if item.key not in before]


def forget_addresses(begun: RecipeProject) -> None:
    """As if the settings had been written anew by hand."""
    path = begun.folder / "settings.toml"
    kept, heading, _ = path.read_text().partition("[known_servers]")
    assert heading
    path.write_text(kept)


def rendered(server: Sandbox) -> set[str]:
    """The keys of the items that a server has rendered; each must have been rendered once."""
    counts = server.counts()["rendered_by_item"]
    assert set(counts.values()) <= {1}, counts
    return set(counts)


def of_init(begun: RecipeProject) -> set[str]:
    return {item.key for item in begun.items() if item.batch is None}


def uses_both(begun: RecipeProject) -> bool:
    return len({item.server for item in begun.items() if item.accepted}) == 2


def of(begun: RecipeProject, keys: list[str]) -> list[Item]:
    return [item for item in begun.items() if item.key in keys]


@pytest.mark.parametrize("killed", [False, True])
def test_each_item_goes_to_a_server_of_its_recipe(
    begun: RecipeProject, sandbox: Sandbox, other: Sandbox, killed: bool
) -> None:
    """`killed`: while both servers hold something, which the next run collects from both."""
    pinned = queue(begun, other.url, count=4)
    if killed:
        other.hold("finish")
        sandbox.hold("finish")
        with begun.start("run", *FAST) as run:
            wait_until(lambda: uses_both(begun), what="prompts on both servers")
            assert run.stop(signal.SIGKILL).code == 137
        other.release()
        sandbox.release()
    report = begun.run_to_the_end().report
    assert report["counts"] == {"pending": 0, "submitted": 0, "completed": 7, "failed": 0, "cancelled": 0}
    assert (rendered(sandbox), rendered(other)) == (of_init(begun), set(pinned))
    assert {server["url"] for server in report["servers"]} == {sandbox.url, other.url}


@pytest.mark.parametrize("while_it_works", [False, True])
def test_a_named_server_starts_at_once_however_many_items_come_before(
    begun: RecipeProject, sandbox: Sandbox, other: Sandbox, while_it_works: bool
) -> None:
    """Also one that is named while a run works."""
    begun.prompts("A", 30)
    begun.call("init", "A", "--template", "a.json")
    sandbox.hold("finish")
    pinned = [] if while_it_works else queue(begun, other.url)
    with begun.start("run", *FAST, "--until-done", "-n", "5") as run:
        wait_until(lambda: begun.accepted() > 0, what="a prompt on the run's own server")
        pinned = pinned or queue(begun, other.url)
        wait_until(lambda: rendered(other) == set(pinned), what="the items of the other server")
        sandbox.release()
        assert run.end().code == 0
    assert (rendered(sandbox), rendered(other)) == (of_init(begun), set(pinned))
    assert begun.count(Status.COMPLETED) == 32


def test_only_the_servers_of_due_recipes_are_contacted(begun: RecipeProject, sandbox: Sandbox, other: Sandbox) -> None:
    """Those of completed items are not."""
    queue(begun, other.url)
    begun.run_to_the_end()
    begun.prompts("B", 1)
    begun.call("init", "B", "--template", "a.json")
    report = begun.run_to_the_end().report
    assert [server["url"] for server in report["servers"]] == [sandbox.url]


def test_a_recipe_of_the_runs_own_server_needs_no_other(begun: RecipeProject, sandbox: Sandbox) -> None:
    """However its address is spelled."""
    pinned = queue(begun, sandbox.url.replace("127.0.0.1", "localhost"))
    report = begun.run_to_the_end().report
    assert len(report["servers"]) == 1
    assert rendered(sandbox) == of_init(begun) | set(pinned)


def test_the_servers_of_a_run_do_not_win_over_those_of_a_recipe(
    begun: RecipeProject, sandbox: Sandbox, other: Sandbox
) -> None:
    pinned = queue(begun, sandbox.url)
    report = begun.run_to_the_end("--server", other.url).report
    assert (rendered(sandbox), rendered(other)) == (set(pinned), of_init(begun))
    assert any("--server" in note and "2 items due with recipes of their own" in note for note in report["notes"])


def test_two_servers_share_the_items_of_a_recipe_that_names_both(
    begun: RecipeProject, sandbox: Sandbox, other: Sandbox
) -> None:
    with Sandbox(SandboxSettings(seconds_per_prompt=0.1)) as third:
        pinned = set(queue(begun, f"{other.url},{third.url}", count=12))
        begun.run_to_the_end()
        assert rendered(sandbox) == of_init(begun)
        assert rendered(other) | rendered(third) == pinned
        assert rendered(other)
        assert rendered(third)


@pytest.mark.parametrize("by", ["generate", "update"])
def test_the_address_of_a_named_server_is_remembered(
    begun: RecipeProject, sandbox: Sandbox, other: Sandbox, by: str
) -> None:
    """For its own items alone; and its name can be used from then on."""
    if by == "generate":
        pinned = queue(begun, f"gpu2={other.url}")
    else:
        pinned = queue(begun, sandbox.url)
        begun.call("update", *pinned, "--server", f"gpu2={other.url}")
    again = queue(begun, "gpu2")
    begun.run_to_the_end()
    assert (rendered(sandbox), rendered(other)) == (of_init(begun), {*pinned, *again})
    assert {item.server for item in of(begun, pinned)} == {"gpu2"}
    begun.prompts("B", 1)
    begun.call("init", "B", "--template", "a.json")
    assert len(begun.run_to_the_end().report["servers"]) == 1
    assert rendered(sandbox) == of_init(begun)


def test_a_named_server_that_the_run_uses_by_its_address_is_one_server(begun: RecipeProject, sandbox: Sandbox) -> None:
    pinned = queue(begun, f"gpu2={sandbox.url}")
    report = begun.run_to_the_end().report
    assert len(report["servers"]) == 1
    assert rendered(sandbox) == of_init(begun) | set(pinned)


def test_no_password_is_remembered(begun: RecipeProject, other: Sandbox) -> None:
    queue(begun, f"gpu2={other.url.replace('//', '//me:secret@')}")
    kept = (begun.folder / "settings.toml").read_text()
    assert f'gpu2 = "{other.url}"' in kept
    assert "secret" not in kept


def test_a_named_server_that_moved_is_found_at_its_new_address(
    begun: RecipeProject, sandbox: Sandbox, other: Sandbox
) -> None:
    begun.run_to_the_end()
    pinned = queue(begun, "gpu2=http://127.0.0.1:9")
    begun.run_to_the_end("--server-moved", f"gpu2={other.url}")
    assert (rendered(sandbox), rendered(other)) == (of_init(begun), set(pinned))
    assert f'gpu2 = "{other.url}"' in (begun.folder / "settings.toml").read_text()


def test_a_server_without_a_known_address_sets_its_recipe_aside(
    begun: RecipeProject, sandbox: Sandbox, other: Sandbox
) -> None:
    """Everything else is rendered; the run that is told the address renders the rest."""
    pinned = queue(begun, f"gpu7={other.url}")
    forget_addresses(begun)
    ended = begun.burst("run", *FAST, "--until-done", "--json")
    assert ended.code == 2
    assert rendered(sandbox) == of_init(begun)
    (aside,) = ended.report["set_aside"]
    assert (aside["items"], aside["name"]) == (2, "a.json")
    assert "no address is known of the server gpu7" in aside["reason"]
    assert "--server gpu7=URL" in aside["reason"]
    assert "burst update --server" in aside["reason"]
    assert {(item.status, item.attempts) for item in of(begun, pinned)} == {(Status.PENDING, 0)}
    begun.run_to_the_end("--server", f"gpu7={other.url}")
    assert rendered(other) == set(pinned)


def test_burst_update_gives_them_another_server(begun: RecipeProject, sandbox: Sandbox, other: Sandbox) -> None:
    """Beside a run that has set them aside, which takes them then."""
    pinned = queue(begun, "gpu7=http://127.0.0.1:9")
    forget_addresses(begun)
    sandbox.hold("finish")
    with begun.start("run", *FAST, "--until-done") as run:
        wait_until(lambda: begun.accepted() == 3, what="the items of the run's own server")
        begun.call("update", *pinned, "--server", other.url)
        wait_until(lambda: rendered(other) == set(pinned), what="the items that were moved")
        sandbox.release()
        assert run.end().code == 0
    assert rendered(sandbox) == of_init(begun)


def test_a_server_that_is_down_costs_its_items_nothing(begun: RecipeProject, sandbox: Sandbox, other: Sandbox) -> None:
    pinned = queue(begun, other.url)
    other.close()
    ended = begun.burst("run", *FAST, "--until-done", "--wait-server", "0.5", "--json")
    assert (ended.code, ended.report["completed"]) == (75, 3)
    assert {(item.status, item.attempts) for item in of(begun, pinned)} == {(Status.PENDING, 0)}
    assert rendered(sandbox) == of_init(begun)


@pytest.mark.parametrize("servers", [1, 2])
def test_what_the_servers_of_its_recipe_refuse_is_set_aside_and_offered_to_no_other(
    begun: RecipeProject, sandbox: Sandbox, servers: int
) -> None:
    lacking = SandboxSettings(missing_nodes=("KSampler",))
    with Sandbox(lacking) as one, Sandbox(lacking) as two:
        pinned = queue(begun, ",".join([one.url, two.url][:servers]))
        ended = begun.burst("run", *FAST, "--until-done", "--json")
        assert (ended.code, ended.report["completed"]) == (2, 3)
        (aside,) = ended.report["set_aside"]
        assert "KSampler" in aside["reason"]
        assert {(item.status, item.attempts) for item in of(begun, pinned)} == {(Status.PENDING, 0)}
    assert rendered(sandbox) == of_init(begun)


def test_the_burst_ends_although_a_slow_server_alone_may_have_the_rest(begun: RecipeProject, sandbox: Sandbox) -> None:
    """The faster server is idle, and must not keep the other's items waiting for it."""
    with Sandbox(SandboxSettings(seconds_per_prompt=0.3)) as slow:
        pinned = queue(begun, slow.url, count=5)
        report = begun.run_to_the_end().report
        assert report["counts"]["completed"] == 8
        assert (rendered(sandbox), rendered(slow)) == (of_init(begun), set(pinned))


def doctors_checks(begun: RecipeProject, name: str) -> list[dict[str, str]]:
    report = begun.burst("doctor", "--json", "--all").report
    return [check for check in report["checks"] if check["name"] == name]


def test_doctor_looks_at_the_servers_of_due_recipes(begun: RecipeProject, sandbox: Sandbox) -> None:
    """Each workflow only where it may run."""
    with Sandbox(SandboxSettings(missing_nodes=("KSampler",))) as lacking:
        begun.workflow("b.json", steps=5)
        begun.call(
            *("generate", "--prompt", "a lighthouse", "--template", "b.json"),
            *("--queue-only", "--server", lacking.url),
        )
        assert len(doctors_checks(begun, "server")) == 2
        models = {check["message"].partition(":")[0]: check for check in doctors_checks(begun, "models")[:2]}
        assert models["a"]["message"].startswith(f"a: runs on {sandbox.url}")
        assert models["b"]["message"].startswith("b: runs on none of the servers that answer")


def test_doctor_names_a_server_without_a_known_address(begun: RecipeProject, other: Sandbox) -> None:
    queue(begun, f"gpu7={other.url}")
    forget_addresses(begun)
    (problem,) = [check for check in doctors_checks(begun, "server") if check["verdict"] == "problem"]
    assert "no address is known of the server gpu7" in problem["message"]
    assert problem["next"].endswith("--server gpu7=URL")

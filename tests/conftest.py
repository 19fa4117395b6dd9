"""For all tests: how much Hypothesis tries, how many processes `-n auto` starts, what coverage leaves out.

`pytest --hypothesis-profile=thorough tests/fuzz` tries many new examples, by hand; by default they are always the same.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "burst",
    max_examples=100,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "thorough", settings.get_profile("burst"), max_examples=3000, stateful_step_count=60, derandomize=False
)
settings.load_profile("burst")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """More than there are processors, since many tests wait for processes and servers most of their time."""
    return max(2, (os.cpu_count() or 1) * 3 // 2)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Node classes of servers are kept in the user's cache: here in one of this run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


UNWATCHED = {
    *("fuzz", "kills", "faults", "servers", "house"),
    *("test_crash.py", "test_store_model.py", "test_output_crash.py", "test_thorough_check.py"),
    *("test_pacing.py", "test_several_servers.py", "test_templates_workflow.py"),
}
"""Folders and files with many repetitions of what other tests go through once, or with work in other processes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Coverage does not watch these, which would take it a third of the time of all tests."""
    root = Path(__file__).parent
    for item in items:
        if UNWATCHED.intersection(item.path.relative_to(root).parts):
            item.add_marker("no_cover")

"""For all tests: how much Hypothesis tries, how many processes `-n auto` starts, where files go.

`pytest --hypothesis-profile=thorough tests/fuzz` tries many new examples, by hand; by default they are always the same.
"""

import asyncio
import contextlib
import gc
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers
from support.preloaded import preloaded_python

settings.register_profile(
    "burst",
    max_examples=50,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "thorough", settings.get_profile("burst"), max_examples=3000, stateful_step_count=60, derandomize=False
)
settings.load_profile("burst")


def _use_no_constants_of_ours() -> None:
    """Hypothesis reads every loaded module of ours for constants that it might try: 4 s in each process, for one drawn
    value in forty. A release without this function loses nothing but that time."""
    if hasattr(providers, "_get_local_constants"):
        providers._get_local_constants = lambda: providers._local_constants


@pytest.fixture(scope="session", autouse=True)
def _hang_up() -> Iterator[None]:
    """What tests start ends on a hang-up, also where the tests themselves run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


# Bytecode is kept even where the environment says not to. Otherwise every process that a test starts compiles burst
# again, which is half of what a short one costs, and every worker of xdist all the tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

_SHARED_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 6 << 30


def _serves_for_tests(place: Path) -> bool:
    """Whether there is room, and devices and programs work there as on a disk: some tests make such files."""
    try:
        found = os.statvfs(place)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize >= _ROOM_BYTES and not found.f_flag & (os.ST_NODEV | os.ST_NOEXEC)


if _serves_for_tests(_SHARED_MEMORY):
    # Directories of tests, and of sandboxes and browsers, in memory: a disk is waited for at every fsync, and takes
    # milliseconds to remove a directory.
    for variable in ("PYTEST_DEBUG_TEMPROOT", "TMPDIR"):
        os.environ.setdefault(variable, str(_SHARED_MEMORY))
    tempfile.tempdir = None  # in case that it was looked up before


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """More than there are processors, since many tests wait for processes and servers most of their time.

    Three on two processors kept them busy for 60 % of the time, five for 88 %; each further one costs some seven
    seconds of CPU, for collecting and for a PostgreSQL and a browser of its own, and a gigabyte with what it starts.
    """
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(2, min((os.cpu_count() or 1) * 3, memory_bytes >> 30))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Node classes of servers are kept in the user's cache: here in one of this run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _own_event_loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """From the first page on Playwright leaves its event loop running in this thread: for tests of pages alone."""
    loop = asyncio._get_running_loop()
    if loop is None or "browser" in request.fixturenames:
        yield
        return
    asyncio._set_running_loop(None)
    yield
    asyncio._set_running_loop(loop)


LONG = {
    *("test_fuzz_work.py", "test_store_model.py", "test_crash.py", "test_fuzz_burst.py", "test_serving.py"),
    *("test_recipe_servers.py"),
}
"""Files with tests of many seconds, which run first: at the end, one process would work on such a test alone."""


def pytest_configure(config: pytest.Config) -> None:
    if not config.getoption("hypothesis_profile", None):
        _use_no_constants_of_ours()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: list[Any]) -> None:
    """The workers are forks of one process that has imported the tests, unless coverage is to see them imported."""
    if not hasattr(os, "pidfd_open") or config.getoption("cov_source", None):
        return
    preloaded = contextlib.ExitStack()
    config.add_cleanup(preloaded.close)
    python = shlex.join(preloaded.enter_context(preloaded_python(config.args)))
    for spec in specs:
        spec.python = spec.popen and python


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: (item.path.name not in LONG, str(item.path)))


gc.disable()  # until all has been imported and collected, none of which is garbage


def pytest_collection_finish() -> None:
    """What is there now stays: no search for garbage looks at it again."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Each process takes the tests of a module one after another, which share its servers, and helps others last."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)

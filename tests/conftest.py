"""How much Hypothesis tries: the same examples each time, or many new ones with
`pytest --hypothesis-profile=thorough tests/fuzz`, by hand; and how many processes `-n auto` starts."""

import os

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

"""`located`: where an error was met is put before its message, and nothing else about it changes."""

from __future__ import annotations

import pytest

from orchestrator.errors import SettingsError, UsageError, located


def test_the_place_comes_first_and_the_class_stays() -> None:
    class Narrower(UsageError):
        pass

    cause = Narrower("no number")
    with pytest.raises(Narrower, match=r"\A--seed: no number\Z") as raised, located("--seed", UsageError):
        raise cause
    assert raised.value.__cause__ is cause


def test_an_error_can_become_one_of_ours_with_advice() -> None:
    with (
        pytest.raises(UsageError, match=r"\A--size: 12px; write 1024x768\Z"),
        located("--size", ValueError, RecursionError, into=UsageError, advice="write 1024x768"),
    ):
        raise ValueError("12px")


def test_an_error_of_the_system_gives_its_reason_without_number_and_path() -> None:
    with (
        pytest.raises(UsageError, match=r"\A/nowhere: cannot be read: No such file or directory\Z"),
        located("/nowhere: cannot be read", OSError, into=UsageError),
        open("/nowhere"),
    ):
        pass


def test_other_errors_pass_as_they_are() -> None:
    cause = SettingsError("no address")
    with pytest.raises(SettingsError) as raised, located("--size", UsageError):
        raise cause
    assert raised.value is cause


def test_without_an_error_nothing_happens() -> None:
    with located("--size", UsageError):
        value = 1
    assert value == 1

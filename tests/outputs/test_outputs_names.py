"""Names: every output inside its directory, and a clear refusal for the rest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import OutputRefused
from orchestrator.outputs import Outputs, names

HERE = Path("/data/out")


def named(subfolder: str, filename: str, *extensions: str) -> list[str]:
    return [path.relative_to(HERE).as_posix() for path in Outputs(HERE).target_names(subfolder, filename, extensions)]


def test_the_documented_names() -> None:
    assert named("EP01", "prompt_1.txt", ".png", ".png", ".txt") == [
        "EP01/prompt_1.png",
        "EP01/prompt_1_002.png",
        "EP01/prompt_1_003.txt",
    ]


@pytest.mark.parametrize(
    ("subfolder", "filename", "expected"),
    [
        ("", "a", "a.png"),
        ("./x//y/", "a.txt", "x/y/a.png"),
        ("", "Dr. Strange", "Dr. Strange.png"),
        ("", "v1.5", "v1.5.png"),
        ("", "a.b.txt", "a.b.png"),
        ("Ü bung", "größe 😀.txt", "Ü bung/größe 😀.png"),
        ("", "..a.txt", "..a.png"),
        ("", "console.txt", "console.png"),
    ],
)
def test_ordinary_names(subfolder: str, filename: str, expected: str) -> None:
    assert named(subfolder, filename, ".png") == [expected]


@pytest.mark.parametrize(
    ("subfolder", "filename"),
    [
        ("..", "a"),
        ("x/../../y", "a"),
        ("x/..", "a"),
        ("/etc", "a"),
        ("C:", "a"),
        ("c:/x", "a"),
        ("x\\..\\y", "a"),
        ("x\0", "a"),
        ("x\n", "a"),
        ("nul", "a"),
        ("é" * 128, "a"),
        ("/".join(["a" * 200] * 30), "a"),
        ("", ""),
        ("", ".txt"),
        ("", ".."),
        ("", "..."),
        ("", " .txt"),
        ("", "a/b"),
        ("", "../a"),
        ("", "/a"),
        ("", "a\\b"),
        ("", "C:a"),
        ("", "a\x1b[2J"),
        ("", "CON.txt"),
        ("", "lpt1"),
        ("", ".burst-x.txt"),
        ("", "é" * 126 + ".txt"),
        ("", "a\udcff"),
    ],
)
def test_refused_names(subfolder: str, filename: str) -> None:
    with pytest.raises(OutputRefused) as caught:
        named(subfolder, filename, ".png")
    assert str(caught.value).isprintable()


def test_the_number_counts_for_the_length() -> None:
    assert named("", "a" * 251, ".png")
    with pytest.raises(OutputRefused, match="255 bytes"):
        named("", "a" * 251, ".png", ".png")


_PART = st.one_of(
    st.text(max_size=8), st.sampled_from(["..", ".", "", "/", "~", "a", "C:", "\\", "\0", "..\\", "%2e%2e"])
)
_PATH = st.builds("/".join, st.lists(_PART, max_size=4))


@given(subfolder=_PATH, filename=_PATH, extensions=st.lists(st.one_of(_PART, st.just(".png")), max_size=3))
def test_no_name_leaves_the_directory(subfolder: str, filename: str, extensions: list[str]) -> None:
    try:
        targets = Outputs(HERE).target_names(subfolder, filename, extensions)
    except OutputRefused:
        return
    assert len(set(targets)) == len(extensions)
    for target in targets:
        normal = os.path.normpath(target)
        assert normal == str(target)
        assert normal.startswith(f"{HERE}/")
        assert len(os.fsencode(target.name)) <= 255


@given(recorded=_PATH)
def test_no_recorded_path_leaves_it_either(recorded: str) -> None:
    try:
        path = names.inside(HERE, recorded)
    except OutputRefused:
        return
    assert os.path.normpath(path).startswith(f"{HERE}/")


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("a_00001_.png", ".png"),
        ("a.PNG", ".png"),
        ("mesh.glb", ".glb"),
        ("a.tar.gz", ".gz"),
        ("a", ".bin"),
        ("a.p ng", ".bin"),
        ("a.png;x", ".bin"),
        ("a." + "x" * 17, ".bin"),
        (".png", ".bin"),
    ],
)
def test_extensions_of_served_names(filename: str, expected: str) -> None:
    assert names.server_extension(filename) == expected


@pytest.mark.parametrize(
    ("filename", "subfolder"),
    [("../a.png", ""), ("a/b.png", ""), ("a\\b.png", ""), ("a..png", ""), ("a.png", "../.."), ("a.png", "x\\..\\.."),
     ("a.png", "/etc"), ("a.png", "\\\\host"), ("a.png", "C:\\x"), ("a\0.png", ""), ("a.png", "x\n")],
)  # fmt: skip
def test_served_names_that_point_outside(filename: str, subfolder: str) -> None:
    with pytest.raises(OutputRefused):
        names.check_served(filename, subfolder)


def test_served_names_of_a_windows_server_are_fine() -> None:
    names.check_served("a_00001_.png", "burst\\4f")


@given(prompt_id=st.text())
def test_a_temporary_name_is_one_plain_name(prompt_id: str) -> None:
    name = names.temporary_name(prompt_id, 1)
    assert "/" not in name
    assert name.startswith(".burst-")
    assert name.endswith(".part")
    assert len(name.encode()) < 255
    assert name.isprintable()

"""Where pictures and sidecars go: the documented names, each one's own, inside the output directory."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.batches.layouts import Place, directory_name, place_of, refuse_unsafe
from orchestrator.batches.values import LARGEST_SEED
from orchestrator.batches.variation import Variation
from orchestrator.batches.variations import LARGEST_BATCH
from orchestrator.errors import UsageError
from orchestrator.outputs.names import output_names
from state.batch import Layout

AT = datetime(2026, 11, 21, 5, 4, 9, tzinfo=UTC)


def variation(index: int = 7, *, seed: int | None = 42, **said: Any) -> Variation:
    return Variation(index, "a house", {} if seed is None else {"seed": seed}, **said)


def place(layout: Layout, one: Variation, *, total: int = 100, directory: str = "D", stem: str | None = None) -> Place:
    return place_of(layout, one, directory=directory, total=total, stem=stem)


def test_the_names_of_directories() -> None:
    assert directory_name("numbered", AT, "20261121_050409_k3f9") == "20261121_050409"
    assert directory_name("batch", AT, "20261121_050409_k3f9") == "batch_20261121_050409_k3f9"
    assert directory_name("batch", AT, "k3f9") == "batch_20261121_050409_k3f9"
    assert directory_name("mirror", AT, "k3f9") == ""
    assert directory_name("gallery", AT, "20261121_050409_k3f9") == "batches/20261121_050409_k3f9"


def test_two_batches_of_one_second_have_directories_of_their_own() -> None:
    taken = {"20261121_050409", "20261121_050409_2"}
    assert directory_name("numbered", AT, "k3f9", taken=taken.__contains__) == "20261121_050409_3"
    assert directory_name("mirror", AT, "k3f9", taken=lambda name: True) == ""


@pytest.mark.parametrize(
    ("index", "total", "number"), [(1, 2, "_001"), (7, 999, "_007"), (7, 1000, "_0007"), (100_000, 100_000, "_100000")]
)
def test_a_numbered_directory(index: int, total: int, number: str) -> None:
    assert place("numbered", variation(index), total=total) == Place("D", f"image{number}.png", f"D/prompt{number}.txt")


def test_one_picture_has_no_number() -> None:
    assert place("numbered", variation(1), total=1) == Place("D", "image.png", "D/prompt.txt")


@pytest.mark.parametrize(
    ("index", "total", "number"),
    [(1, 1, "0001"), (7, 9999, "0007"), (7, 10_000, "00007"), (100_000, 100_000, "100000")],
)
def test_a_batch_directory(index: int, total: int, number: str) -> None:
    expected = Place("D/images", f"sprite_{number}_42.png", f"D/metadata/sprite_{number}.json")
    assert place("batch", variation(index), total=total) == expected


@pytest.mark.parametrize("total", [1, 20])
def test_a_directory_for_the_gallery_always_counts(total: int) -> None:
    assert place("gallery", variation(1), total=total) == Place("D", "image_001.png", "D/prompt_001.txt")


def test_a_batch_without_seeds() -> None:
    assert place("batch", variation(seed=None)).filename == "sprite_0007.png"
    assert place("batch", variation(seed=0)).filename == "sprite_0007_0.png"


def test_the_stem_may_be_chosen() -> None:
    assert place("batch", variation(), stem="v1.x") == Place(
        "D/images", "v1.x_0007_42.png", "D/metadata/v1.x_0007.json"
    )
    assert place("numbered", variation(), stem="cat") == Place("D", "cat_007.png", "D/prompt_007.txt")
    assert place("mirror", variation(), stem="cat") == Place("D", "cat_007.png", "D/cat_007.json")


def test_a_mirror_keeps_subfolder_and_name() -> None:
    one = variation(name="hero.v2", subfolder="EP01/deep")
    assert place("mirror", one, directory="") == Place("EP01/deep", "hero.v2.png", "EP01/deep/hero.v2.json")
    assert place("mirror", one, stem="cat").filename == "hero.v2.png"
    several = variation(name="hero", subfolder="EP01", number=2, of=12)
    assert place("mirror", several) == Place("D/EP01", "hero_002.png", "D/EP01/hero_002.json")


def test_a_mirror_without_names_counts() -> None:
    assert place("mirror", variation(1), total=1, directory="") == Place("", "image.png", "image.json")
    assert place("mirror", variation(7, subfolder="ideas"), directory="") == Place(
        "ideas", "image_007.png", "ideas/image_007.json"
    )


@pytest.mark.parametrize("stem", ["v1.x", "a.b", "Dr. Strange", "größe 😀"])
@pytest.mark.parametrize("layout", ["numbered", "batch", "mirror"])
def test_a_picture_is_saved_under_the_whole_stem(layout: Layout, stem: str) -> None:
    refuse_unsafe(stem, layout=layout, place="--stem")
    found = place(layout, variation(1, name=stem), total=1, stem=stem)
    (saved,) = output_names(found.subfolder, found.filename, [".webp"])
    assert saved.name == found.filename.removesuffix(".png") + ".webp"
    assert saved.name.startswith(stem)


@pytest.mark.parametrize("stem", ["", " ", "..", "a/b", "a\\b", "nul", "x" * 230, "a\n", "\udcff", ".burst-x", "C:a"])
def test_a_stem_under_which_nothing_can_be_saved_is_refused(stem: str) -> None:
    with pytest.raises(UsageError, match=r"^--stem: "):
        refuse_unsafe(stem, layout="batch", place="--stem")


@pytest.mark.parametrize("subfolder", ["..", "/x", "a/../..", "aux", "a\0", "x" * 256])
def test_a_subfolder_that_leaves_the_directory_is_refused(subfolder: str) -> None:
    with pytest.raises(UsageError, match=r"^line 7: "):
        refuse_unsafe("image", layout="mirror", subfolder=subfolder, place="line 7")


def test_a_stem_of_the_sidecars_own_is_refused() -> None:
    with pytest.raises(UsageError, match="called Prompt already"):
        refuse_unsafe("Prompt", layout="numbered", place="--stem")
    refuse_unsafe("prompt", layout="batch", place="--stem")


@settings(max_examples=settings.default.max_examples // 2)
@given(st.text(min_size=1), st.sampled_from(get_args(Layout)), st.integers(1, LARGEST_BATCH))
def test_what_is_not_refused_can_be_saved_with_any_number(stem: str, layout: Layout, index: int) -> None:
    try:
        refuse_unsafe(stem, layout=layout, place="--stem")
    except UsageError:
        return
    one = variation(index, seed=LARGEST_SEED, name=stem, number=index, of=LARGEST_BATCH)
    found = place(layout, one, total=LARGEST_BATCH, stem=stem)
    names = output_names(found.subfolder, found.filename, [".png"] * 4096)
    assert names[-1].name.startswith(stem)


@given(st.sampled_from(get_args(Layout)), st.integers(1, 1200), st.booleans(), st.booleans())
def test_each_has_a_place_of_its_own_and_names_sort_as_numbers(
    layout: Layout, total: int, named: bool, has_seed: bool
) -> None:
    variations = [
        variation(index, seed=index % 3 if has_seed else None, name="hero" if named else "", number=index, of=total)
        for index in range(1, total + 1)
    ]
    places = [place(layout, one, total=total) for one in variations]
    pictures = [f"{found.subfolder}/{found.filename}" for found in places]
    sidecars = [found.sidecar for found in places]
    assert len({*pictures, *sidecars}) == 2 * total
    assert sidecars == sorted(sidecars)
    assert pictures == sorted(pictures)

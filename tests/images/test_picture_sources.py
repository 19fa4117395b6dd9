"""Directories of pictures become items."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.case_folding_disk import run_without_rights
from support.image_project import INVERT, MASKED, PictureProject, draw

from orchestrator.errors import TemplateError, UsageError
from orchestrator.image_directories import MaskRule, Pictures, picture_items
from orchestrator.init_state import init_state
from orchestrator.outputs.placement import Placement
from orchestrator.recipes import Recipes
from orchestrator.settings import Overrides
from state.item import Status
from state.open_store import open_store


def pictures(root: Path, *names: str) -> Path:
    """Empty files: whether they are pictures is nothing that `init` asks."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def found(*roots: Path, home: Path, **asked: Any) -> Pictures:
    placement = Placement(Recipes(None, home), asked.pop("output_dir", home / "output"))
    return picture_items(roots, home=home, placement=placement, **asked)


def keys(items: Pictures) -> list[str]:
    return [item.key for item in items.items]


def test_the_key_is_the_path_and_so_is_what_is_uploaded(tmp_path: Path) -> None:
    root = pictures(tmp_path / "photos", "EP01/a.png", "EP01/deep/b.jpg", "top.webp")
    items = {item.key: item for item in found(root, home=tmp_path).items}
    assert {key: (item.subfolder, item.filename) for key, item in items.items()} == {
        "photos/EP01/a.png": ("EP01", "a.png"),
        "photos/EP01/deep/b.jpg": ("EP01/deep", "b.jpg"),
        "photos/top.webp": ("photos", "top.webp"),
    }
    assert all(item.uploads == {"image": key} and item.status is Status.PENDING for key, item in items.items())


def test_numbers_sort_by_value_and_elsewhere_keys_are_absolute(tmp_path: Path) -> None:
    root = pictures(tmp_path / "elsewhere", *(f"shot {number}.png" for number in (10, 9, 100, 1)))
    assert keys(found(root, home=tmp_path / "project")) == [str(root / f"shot {n}.png") for n in (1, 9, 10, 100)]


def test_any_spelling_of_a_pictures_extension_and_nothing_hidden(tmp_path: Path) -> None:
    wanted = ["a.PNG", "b.Jpg", "c.jpeg", "d.webp", "e.BMP", "f.gif", "g.tif", "h.tiff"]
    root = pictures(tmp_path / "p", *wanted, ".hidden.png", ".git/x.png", "note.txt", "raw.cr2", "png")
    assert [Path(key).name for key in keys(found(root, home=tmp_path))] == wanted


def test_several_patterns_of_names_and_of_paths(tmp_path: Path) -> None:
    root = pictures(tmp_path / "p", "a.png", "b.JPG", "c.webp", "EP01/d.png", "EP02/d.png")
    asked = {"home": tmp_path, "patterns": ["*.jpg", "EP0[1]/*.png"]}
    assert keys(found(root, **asked)) == ["p/b.JPG", "p/EP01/d.png"]


def test_a_link_and_a_directory_of_a_pictures_name(tmp_path: Path) -> None:
    """A link that leads nowhere is an item and fails by itself; a directory is none."""
    root = pictures(tmp_path / "p", "a.png", "b.png/inside.txt")
    (root / "c.png").symlink_to("nowhere.png")
    assert keys(found(root, home=tmp_path)) == ["p/a.png", "p/c.png"]


def test_results_do_not_become_items(tmp_path: Path) -> None:
    root = pictures(tmp_path / "photos", "a.png", "done/photos/a.png", "undone/b.png")
    (tmp_path / "link").symlink_to(root / "done")
    for output in (root / "done", tmp_path / "link"):
        assert keys(found(root, home=tmp_path, output_dir=output)) == ["photos/a.png", "photos/undone/b.png"]


@pytest.mark.parametrize("output", [".", "photos", "photos/../photos", "photos/EP01/.."])
def test_pictures_in_the_output_directory_are_refused(tmp_path: Path, output: str) -> None:
    root = pictures(tmp_path / "photos", "EP01/a.png")
    with pytest.raises(UsageError, match=r"is inside the output directory.*output_dir='DIR'"):
        found(root, home=tmp_path, output_dir=tmp_path / output)


@pytest.mark.parametrize("name", ["absent", "empty", "a_file"])
def test_a_directory_without_pictures_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a_file").write_text("x")
    with pytest.raises(UsageError, match=name):
        found(tmp_path / name, home=tmp_path)


def test_two_pictures_with_one_result_are_named(tmp_path: Path) -> None:
    pictures(tmp_path / "photos", "EP01/a.png", "EP01/A.jpg")
    with pytest.raises(UsageError, match=r"photos/EP01/A\.jpg and photos/EP01/a\.png would both be saved"):
        init(tmp_path)
    assert not (tmp_path / "re_render_state.json").exists()


MASKS: dict[str, tuple[str, dict[str, str]]] = {
    "beside it": ("{stem}_mask.png", {"a.jpg": "a_mask.png", "b.png": "b_mask.png"}),
    "before the name": ("m-{stem}.png", {"a.png": "m-a.png"}),
    "below": ("masks/{stem}.png", {"a.png": "masks/a.png", "x/b.png": "x/masks/b.png"}),
    "in a neighbour": ("../masks/{stem}.png", {"x/a.png": "masks/a.png"}),
    "from here": ("./{stem}.mask.png", {"a.png": "a.mask.png"}),
    "of another extension": ("{stem}.png", {"a.jpg": "a.png", "b.webp": "b.png"}),
}
"""The rule, and each picture's mask."""


@pytest.mark.parametrize("name", MASKS)
def test_masks_by_a_rule_are_no_items(tmp_path: Path, name: str) -> None:
    rule, expected = MASKS[name]
    root = pictures(tmp_path / "p", *expected.keys(), *expected.values())
    result = found(root, home=tmp_path, masks=MaskRule(rule))
    uploads = {item.key: item.uploads for item in result.items}
    assert uploads == {f"p/{key}": {"image": f"p/{key}", "mask": f"p/{mask}"} for key, mask in expected.items()}
    assert result.lonely_masks == ()


def test_a_mask_that_is_missing_is_named_before_anything_is_written(tmp_path: Path) -> None:
    pictures(tmp_path / "photos", "a.png", "a_mask.png", "b.png", "c.png")
    with pytest.raises(UsageError, match=r"b\.png has no mask: .*b_mask\.png is not there \(2 images without\)"):
        init(tmp_path, template=MASKED, masks="{stem}_mask.png")
    assert not (tmp_path / "re_render_state.json").exists()


def test_a_mask_without_a_picture_is_told_and_not_rendered(tmp_path: Path) -> None:
    pictures(tmp_path / "photos", "a.png", "a_mask.png", "face_mask.png")
    report = init(tmp_path, template=MASKED, masks="{stem}_mask.png")
    assert (report.found, report.masks) == (1, 1)
    assert report.notes == ("1 mask without an image left out: photos/face_mask.png",)
    assert "1 image found, 1 with a mask" in report.as_text()


@pytest.mark.parametrize("rule", ["mask.png", "{stem}/{stem}.png", "", "masks/{stem}/"])
def test_a_rule_that_names_no_mask_for_each_is_refused(rule: str) -> None:
    with pytest.raises(UsageError, match="masks"):
        MaskRule(rule)


def init(home: Path, *, template: dict[str, Any] = INVERT, **asked: Any) -> Any:
    (home / "template.json").write_text(json.dumps(template))
    overrides = Overrides(template=str(home / "template.json"), output_dir=home / "output")
    return init_state(home / "re_render_state.json", [home / "photos"], overrides=overrides, images=True, **asked)


@pytest.mark.parametrize(
    ("missing", "template", "masks"), [("image", {"9": INVERT["3"]}, None), ("mask", INVERT, "{stem}_m.png")]
)
def test_a_template_that_takes_no_picture_is_refused_at_once(
    tmp_path: Path, missing: str, template: dict[str, Any], masks: str | None
) -> None:
    pictures(tmp_path / "photos", "a.png", "a_m.png")
    with pytest.raises(TemplateError, match=f"no binding '{missing}' .*bindings={{'{missing}': "):
        init(tmp_path, template=template, masks=masks)


def test_masks_that_are_told_later_are_taken_by_what_is_still_due(tmp_path: Path) -> None:
    """What was an item until then is said to be a mask."""
    pictures(tmp_path / "photos", "a.png", "b.png", "masks/b.png")
    init(tmp_path, template=MASKED, patterns=["[ab].png"])
    (tmp_path / "photos" / "masks" / "a.png").touch()
    report = init(tmp_path, template=MASKED, masks="masks/{stem}.png")
    assert report.added == 0
    with open_store(report.state, read_only=True) as store:
        uploads = {item.key: item.uploads.get("mask") for item in store.items()}
    assert uploads["photos/a.png"] == "photos/masks/a.png"
    assert uploads["photos/b.png"] == "photos/masks/b.png"
    assert report.notes[-1] == "1 due item is a mask by this rule: `burst cancel photos/masks/b.png`"


def test_masks_that_are_told_later_do_again_what_is_done_where_it_is_rescanned(tmp_path: Path, sandbox: Any) -> None:
    home = tmp_path / "project"
    home.mkdir()
    project = PictureProject(home, server=sandbox.url, count=2, template=MASKED)
    assert project.run().code == 0
    for number in (1, 2):
        draw(project.photos / "masks" / f"photo_{number:03d}.png", 40 + number)
    told = {"masks": "../masks/{stem}.png"}
    assert project.init(**told).put_back == ()
    assert {item.uploads.get("mask") for item in project.items()} == {None}
    assert len(project.init(rescan=True, **told).put_back) == 2
    assert project.item(1).uploads["mask"] == "photos/masks/photo_001.png"


def test_a_directory_that_may_not_be_read_is_refused_and_not_passed_over(tmp_path: Path, sandbox: Any) -> None:
    home = tmp_path / "project"
    home.mkdir()
    project = PictureProject(home, server=sandbox.url, count=1)
    folder = project.photos / "EP02"
    draw(folder / "a.png", 9)
    folder.chmod(0)
    try:
        ended = run_without_rights(project, "init", "--images", "photos")
    finally:
        folder.chmod(0o700)
    assert ended.code == 2
    assert f"{folder}: cannot be read: Permission denied" in ended.err
    assert len(ended.err.splitlines()) == 1


def test_the_command_line(tmp_path: Path, sandbox: Any) -> None:
    home = tmp_path / "project"
    home.mkdir()
    project = PictureProject(home, server=sandbox.url, count=1)
    for name in ("b.png", "b_mask.png", "c.JPG"):
        draw(project.photos / name, len(name))
    ended = project.burst("init", "--images", "photos", "--pattern", "b.png", "--pattern", "*.jpg", "--json")
    assert ended.code == 0, ended.err
    assert (ended.report["found"], ended.report["added"], ended.report["masks"]) == (2, 2, 0)
    assert project.burst("init", "photos", "--masks", "x").code == 2
    assert "--images" in project.burst("init", "photos", "--masks", "x").err

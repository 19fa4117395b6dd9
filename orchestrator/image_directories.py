"""Where items come from: directories of images, videos and audio; masks by a naming rule, texts of the same name."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec

from orchestrator.errors import UsageError
from orchestrator.file_kinds import IMAGES, PATTERNS
from orchestrator.formatting import counted
from orchestrator.outputs.placement import Placement
from orchestrator.places import Place
from orchestrator.prompt_directories import item_of, key_of, natural_key, refuse_undecodable, walk
from orchestrator.wording import named
from state.item import Item

_STEM = "{stem}"


@dataclass(frozen=True)
class Pictures:
    """What lies in directories of pictures."""

    items: tuple[Item, ...]
    texts: int
    """So many of them have a text of the same name."""
    lonely_masks: tuple[str, ...]
    """Files with the name of a mask, whose picture is not there."""


@dataclass(frozen=True)
class MaskRule:
    """How a picture's mask is called: `{stem}_mask.png`, `masks/{stem}.png`, from the picture's own directory."""

    rule: str

    def __post_init__(self) -> None:
        if self.rule.count(_STEM) != 1 or self.rule.endswith("/"):
            raise UsageError(
                f"{named('masks')} {self.rule!r}: use {_STEM} exactly once, such as '{_STEM}_mask.png' "
                f"or 'masks/{_STEM}.png'"
            )

    def mask_of(self, picture: Path) -> Path:
        return Path(os.path.normpath(picture.parent / self.rule.replace(_STEM, picture.stem)))

    def is_mask(self, path: Path) -> bool:
        """Whether some picture's mask is called so."""
        return self._shape.search(path.as_posix()) is not None

    @cached_property
    def _shape(self) -> re.Pattern[str]:
        before, after = re.sub(r"^(\.{0,2}/)+", "", self.rule).split(_STEM)
        return re.compile(f"/{re.escape(before)}[^/]+{re.escape(after)}$")


def picture_items(
    directories: Sequence[Path],
    *,
    home: Path,
    placement: Placement,
    patterns: Sequence[str] = (),
    masks: MaskRule | None = None,
    kinds: Sequence[str] = IMAGES,
) -> Pictures:
    """One pending item for each picture below `directories`, in natural order; keys and subfolders as for prompts.

    `kinds`: what the files may be; each binds the name of its kind, by its extension where there are several.

    A pattern is met by a name, or with a `/` in it by the path below the directory; upper and lower case are one. Masks
    are no items, and neither is what lies in an output root of the state: those are results. A directory of results
    may be named for another output root than its own.
    Errors: UsageError for a directory that cannot be read, holds no picture or lies in the default output root, for a
    picture without its mask, for a file whose name tells no kind, and for a name that is not Unicode text.
    """
    results = {root.resolve() for root in placement.roots() if isinstance(root, Path)}
    met = _Filter(patterns or [pattern for kind in kinds for pattern in PATTERNS[kind]])
    noun = "image" if kinds == IMAGES else "file"
    items: list[Item] = []
    lonely: list[Path] = []
    texts: set[Path] = set()
    for directory in directories:
        _refuse_mixing(directory, placement.default)
        root = directory.absolute()
        files = set(walk(directory, spared=results))
        found = sorted((path for path in files if met(path, root)), key=natural_key)
        pictures = [path for path in found if not (masks and masks.is_mask(path))]
        if not pictures:
            raise UsageError(
                f"{directory}: no {noun} matches {met}; name another directory, or other files with {named('patterns')}"
            )
        used = _masks_of(pictures, masks) if masks is not None else {}
        lonely += set(found) - set(pictures) - set(used.values())
        texts |= {text for path in pictures if (text := path.with_suffix(".txt")) in files}
        items += [_with_uploads(path, used.get(path), kinds, root=root, home=home) for path in pictures]
    by_key = {item.key: item for item in items}
    return Pictures(
        tuple(by_key.values()), len(texts), tuple(key_of(path, home) for path in sorted(lonely, key=natural_key))
    )


def _with_uploads(path: Path, mask: Path | None, kinds: Sequence[str], *, root: Path, home: Path) -> Item:
    for one in (path, mask or path):
        refuse_undecodable(one)
    item = item_of(path, root=root, home=home)
    uploads = {_kind_of(path, kinds): item.key} | ({"mask": key_of(mask, home)} if mask is not None else {})
    return msgspec.structs.replace(item, uploads=uploads)


def _kind_of(path: Path, kinds: Sequence[str]) -> str:
    """What the file binds. Errors: UsageError."""
    if len(kinds) == 1:
        return kinds[0]
    found = (kind for kind in kinds if f"*{path.suffix.lower()}" in PATTERNS[kind])
    kind = next(found, None)
    if kind is None:
        raise UsageError(
            f"{path}: by its name neither an image, a video nor audio; choose files by {named('patterns')}, such as "
            "'*.mp4', or rename it"
        )
    return kind


def _masks_of(pictures: Iterable[Path], rule: MaskRule) -> dict[Path, Path]:
    """Errors: UsageError that names a picture whose mask is not there."""
    found = {path: rule.mask_of(path) for path in pictures}
    missing = [path for path, mask in found.items() if not os.path.lexists(mask)]
    if missing:
        raise UsageError(
            f"{missing[0]} has no mask: {found[missing[0]]} is not there ({counted(len(missing), 'image')} without); "
            "add it, or give images without masks a directory of their own"
        )
    return found


def _refuse_mixing(directory: Path, output_dir: Place) -> None:
    """Results would lie among the pictures, in their very places. Errors: UsageError."""
    if isinstance(output_dir, Path) and directory.resolve().is_relative_to(output_dir.resolve()):
        raise UsageError(
            f"{directory} is inside the output directory {output_dir}, where results would mix with the "
            f"images; choose another with {named('output_dir', 'DIR')}"
        )


class _Filter:
    """Which files are meant."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = patterns
        self._met = [("/" in one, re.compile(fnmatch.translate(one), re.IGNORECASE)) for one in patterns]

    def __call__(self, path: Path, root: Path) -> bool:
        return any(met.match(text) for met, text in self._texts(path, root))

    def __str__(self) -> str:
        return " or ".join(self._patterns)

    def _texts(self, path: Path, root: Path) -> Iterator[tuple[re.Pattern[str], str]]:
        for is_path, met in self._met:
            yield met, path.relative_to(root).as_posix() if is_path else path.name

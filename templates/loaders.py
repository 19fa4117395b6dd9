"""The files that a graph loads: images, masks, videos, audio, and which of them an item's own file replaces."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from templates.graph import Link, Target, class_of, inputs_of
from templates.tracing import SIZES, image_chain
from templates.wiring import Wiring

Kind = Literal["image", "mask", "video", "audio"]

_KINDS: dict[str, Kind] = {"image": "image", "animated_image": "image", "video": "video", "audio": "audio"}
"""What the server says can be uploaded -> the name that binds it."""
_CLASSES: dict[Kind, tuple[re.Pattern[str], tuple[str, ...]]] = {
    "image": (re.compile(r"^LoadImage|Load.*Image|Image.*Load"), ("image",)),
    "video": (re.compile(r"Load.*Video|Video.*Load"), ("video", "file")),
    "audio": (re.compile(r"Load.*Audio|Audio.*Load"), ("audio",)),
}
_FROM_ELSEWHERE = re.compile(r"Path|Ur[li]|URL|Folder|Direct|Dir$|Batch|Base64|Model|Remote|List", re.IGNORECASE)
_TO_MASK = re.compile(r"(Image|Img|Color|Alpha|Channel).*To.?Mask|MaskFrom|Mask From", re.IGNORECASE)
_PLAIN = re.compile(
    r"Scale|Resize|Crop|Pad|Invert|Blur|Flip|Rotate|Threshold|Level|Gr[ae]y|Desaturate|Reroute|MaskToImage|Grow"
    r"|Feather|Expand|Remap|Dilat|Erode|Fill|Convert",
    re.IGNORECASE,
)
_SOURCES = ("start_image", "first_image", "first_frame", "init_image", "input_image")
_ENCODED = ("image1", "image")
_MOST_NODES = 100
"""So many nodes may stand between a mask and the file that it is loaded from."""


class Loaded(msgspec.Struct, frozen=True):
    """An input that names a file which can be uploaded."""

    target: Target
    kind: Kind

    @property
    def node_id(self) -> str:
        return self.target.node_id


def loaders(wiring: Wiring, live: Iterable[str]) -> list[Loaded]:
    """The file inputs of these nodes, by what the server says can be uploaded, else by class and name."""
    found: list[Loaded] = []
    for node_id in live:
        known = wiring.class_at(node_id)
        by_flag = list(_flagged(wiring, node_id)) if known is not None else []
        found += by_flag or _named(wiring, node_id)
    return found


def _flagged(wiring: Wiring, node_id: str) -> Iterator[Loaded]:
    known = wiring.class_at(node_id)
    for declared in known.all_inputs() if known is not None else ():
        value = inputs_of(wiring.graph, node_id).get(declared.name)
        if declared.upload in _KINDS and isinstance(value, str) and known is not None:
            kind = _KINDS[declared.upload]
            types = {output.type for output in known.outputs}
            is_mask = kind == "image" and "MASK" in types and "IMAGE" not in types
            yield Loaded(Target(node_id, declared.name), "mask" if is_mask else kind)


def _named(wiring: Wiring, node_id: str) -> list[Loaded]:
    class_type, inputs = class_of(wiring.graph, node_id), inputs_of(wiring.graph, node_id)
    for kind, (named, names) in _CLASSES.items():
        is_plain = class_type.startswith("LoadImage") or not _FROM_ELSEWHERE.search(class_type)
        if not named.search(class_type) or not is_plain:
            continue
        found = [name for name in names if isinstance(inputs.get(name), str)]
        is_mask = kind == "image" and "Mask" in class_type
        return [Loaded(Target(node_id, name), "mask" if is_mask else kind) for name in found[:1]]
    return []


class InputImages:
    """Tells the image that is worked on from masks, references and backgrounds."""

    def __init__(self, wiring: Wiring, live: list[str], start: list[str], around: list[str]) -> None:
        """`start`: the nodes that the first sampler's latent (or the saved image) comes through. `around`: those of its
        conditioning and settings."""
        self._wiring = wiring
        self._start = start
        self._around = around
        self._live = live
        found = loaders(wiring, dict.fromkeys([*start, *live]))
        self._by_kind = {kind: [each for each in found if each.kind == kind] for kind in (*_CLASSES, "mask")}
        self._masks = self._used_as_masks()

    def of_kind(self, kind: Kind) -> list[Target]:
        """Every file of the kind that is loaded, those used as masks apart."""
        if kind == "mask":
            named = [each.target for each in self._by_kind["mask"] if each.target not in self._masks]
            return [*self._masks, *named]
        return [each.target for each in self._by_kind[kind] if each.target not in self._masks]

    def chosen_mask(self) -> Target | None:
        """The mask of the image that is worked on, where that is certain."""
        found = self.of_kind("mask")
        nearest = list(self._mask_sources(self._start))
        near = [target for target in found if target.node_id in nearest]
        values = {inputs_of(self._wiring.graph, t.node_id)[t.input_name] for t in near or found}
        return (near or found)[0] if len(values) == 1 else None

    def chosen(self) -> Target | None:
        """The image that is worked on, where that is certain."""
        found = self.of_kind("image")
        values = {inputs_of(self._wiring.graph, t.node_id)[t.input_name] for t in found}
        if len(values) <= 1:
            return next(iter(found), None)
        by_use = (self._in_start, self._into_latent, self._sizing, self._encoded)
        return next((chosen for use in by_use if (chosen := use(found)) is not None), None)

    def _in_start(self, found: list[Target]) -> Target | None:
        return _the_only(target for target in found if target.node_id in self._start)

    def _into_latent(self, found: list[Target]) -> Target | None:
        """The first frame of a video."""
        return self._reached(found, [*self._start, *self._around], _SOURCES)

    def _encoded(self, found: list[Target]) -> Target | None:
        """The first image of an encoder of text and images."""
        encoders = [node_id for node_id in self._live if "TextEncode" in class_of(self._wiring.graph, node_id)]
        return self._reached(found, encoders, _ENCODED)

    def _sizing(self, found: list[Target]) -> Target | None:
        """The image whose size is taken."""
        return self._reached(found, [*self._start, *self._around], (*SIZES["width"], *SIZES["height"]))

    def _reached(self, found: list[Target], nodes: Iterable[str], names: Iterable[str]) -> Target | None:
        reached: list[Target] = []
        for node_id in nodes:
            linked = dict(self._wiring.links(node_id))
            link = next((linked[name] for name in names if name in linked), None)
            chain = image_chain(self._wiring, link) if link is not None else []
            reached += [target for target in found if target.node_id in chain]
        return _the_only(reached)

    def _used_as_masks(self) -> list[Target]:
        """Images that are loaded to be masks alone; a mask that is computed of an image makes that no mask."""
        images = {each.node_id: each for each in self._by_kind["image"]}
        masks = {each.node_id: each for each in self._by_kind["mask"]}
        nodes = dict.fromkeys([*self._start, *self._live])
        found = [node_id for node_id in self._mask_sources(nodes) if node_id in images or node_id in masks]
        used = [node_id for node_id in dict.fromkeys(found) if node_id in masks or not self._is_image_too(node_id)]
        return [(images.get(node_id) or masks[node_id]).target for node_id in used]

    def _is_image_too(self, node_id: str) -> bool:
        """Whether a loaded image is worked on, besides its being a mask."""
        if node_id in self._start or not any(each.node_id != node_id for each in self._by_kind["image"]):
            return True
        return not self._ends_as_mask(node_id, seen=set())

    def _ends_as_mask(self, node_id: str, *, seen: set[str]) -> bool:
        """Whether all that is made of an image is masks."""
        seen.add(node_id)
        if len(seen) > _MOST_NODES:
            return False
        users = [user for slot, user, _ in self._wiring.takers(node_id) if slot == 0 and user in self._live]
        classes = {user: class_of(self._wiring.graph, user) for user in users if user not in seen}
        return all(
            _TO_MASK.search(class_type) or (_PLAIN.search(class_type) and self._ends_as_mask(user, seen=seen))
            for user, class_type in classes.items()
        )

    def _mask_sources(self, nodes: Iterable[str]) -> Iterator[str]:
        for node_id in nodes:
            for name, link in self._wiring.links(node_id):
                if self._wiring.is_mask(node_id, name, link):
                    yield from self._mask_source(link)

    def _mask_source(self, link: Link) -> Iterator[str]:
        """The loader that a mask is read from, through nodes that change a mask or turn an image into one."""
        graph, seen = self._wiring.graph, set[str]()
        following: Link | None = link
        while following is not None and following[0] not in seen and len(seen) < _MOST_NODES:
            node_id = following[0]
            seen.add(node_id)
            linked = self._wiring.links(node_id)
            if not linked:
                yield node_id
                return
            masks = [of for name, of in linked if self._wiring.is_mask(node_id, name, of)]
            images = [of for name, of in linked if self._wiring.is_image(node_id, name, of)]
            class_type = class_of(graph, node_id)
            if masks:
                following = masks[0]
            elif images:
                is_plain = _TO_MASK.search(class_type) or _PLAIN.search(class_type)
                following = images[0] if is_plain and len(images) == 1 else None
            else:
                passed = self._wiring.passed(node_id)
                following = passed[0] if len(passed) == 1 else None


def _the_only(found: Iterable[Target]) -> Target | None:
    distinct = list(dict.fromkeys(found))
    return distinct[0] if len(distinct) == 1 else None

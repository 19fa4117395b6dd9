"""Where a conditioning's text is written: behind encoders, pipes, concatenations, switches, stylers and primitives.

What is found is never guessed: a text that several inputs make together, or that a node computes (a caption, a language
model's answer), is reported as such with all the inputs that take part in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from templates.graph import Link, Target, class_of, inputs_of, link_of, title_of
from templates.tracing import SHOWS
from templates.wiring import Side, Wiring, side_of_name, takes_any

Group = tuple[Target, ...]

_TOGETHER = ("text_g", "text_l", "clip_l", "clip_g", "t5xxl", "llama", "bert", "mt5xl")
"""The inputs of one encoder for one text in several spellings; they are set together."""
_TEXT = re.compile(
    r"(?:(?:text|string|str|prompt|caption|input|any)(?:_?input)?|value|wildcard_text|user_prompt|tags|texts|anything"
    r"|text_to_encode|main_prompt|prompt_text|inline_prompt|new|replace(?:ment)?)(?:[_ ]?(?:\d{1,2}|[a-h]))?",
    re.IGNORECASE,
)
_SIDED = re.compile(
    r"(?:(?:text|prompt|string|input)_)?(?:positive|negative|pos|neg)(?:_(?:prompt|text|string|input|[gl]))*\d?",
    re.IGNORECASE,
)
_NO_TEXT_CLASS = re.compile(r"Math|Compare|ToInt|ToFloat|Logic|Expression", re.IGNORECASE)
_NO_TEXT = re.compile(
    r"delimiter|separator|system|instruct|regex|pattern|find|^old|file|path|folder|format|mode|suffix|prefix|weight"
    r"|normaliz|interpret|style_|strength|conditioning|token|lyrics|wildcard$",
    re.IGNORECASE,
)
_NEVER_TEXT = re.compile(r"system|lyrics|wildcard$", re.IGNORECASE)
"""Not even where the server says that it is a prompt text: not the one that a prompt file stands for."""
_PLAIN: dict[Side, tuple[str, ...]] = {
    "positive": ("text", "prompt", "positive_prompt", "string"),
    "negative": ("negative_prompt", "negative"),
}
"""What is taken for the text of a graph without a sampler, where every node may mean something else."""
_FILLS = re.compile(r"(?:new|replace(?:ment)?)(?:_?\d)?", re.IGNORECASE)
_SOUGHT = re.compile(r"(?:find|old|search)(?:_?\d)?", re.IGNORECASE)
_COMPUTES = re.compile(
    r"Caption|Florence|JoyCap|BLIP|VQA|Moondream|Interrogat|Tagger|LLaVA|Segment|Dino|CLIPSeg|Describe|ImageToText"
    r"|Img2Text|(?<![A-Za-z])SAM\d?(?![a-z])",
    re.IGNORECASE,
)
_ANSWERS = re.compile(r"LLM|Ollama|GPT|Gemini|Claude|OpenAI|Enhanc|Mistral|Groq|Chat(?!GLM3?$)", re.IGNORECASE)
"""Language models: what is linked to them is followed, what is written into them is mostly an instruction."""
_ENHANCES = re.compile(r"Enhanc|Rewrit|Expan|(Text|Prompt)Generat|Generate.*Prompt", re.IGNORECASE)
_REGIONAL = re.compile(r"SetArea|SetMask|SetProperties|Regional|Area", re.IGNORECASE)
_MINE = re.compile(r"prompt|positive|正|提示|プロンプト", re.IGNORECASE)
_NOT_MINE = re.compile(
    r"negative|system|instruct|style|prefix|suffix|lora|trigger|template|enhanc|llm|caption|quality|clip text encode"
    r"|concat|负|反|ネガ",
    re.IGNORECASE,
)
_NEGATIVE_TITLE = re.compile(r"negative|(?<![a-z])neg(?![a-z])|负|反向|ネガ", re.IGNORECASE)
_DEEPEST = 100
"""So many nodes may stand between a text and its encoder."""
_Step = tuple[str, int | None, Side, bool]


class Texts(msgspec.Struct, frozen=True):
    """The texts of one encoder, or of one input of a node."""

    groups: tuple[Group, ...]
    """Each set by itself; several: together they make the text, or one of them does."""
    complete: bool = True
    """Nothing of the text is computed by a node."""
    regional: bool = False
    """It counts for a part of the image."""
    encoder: Group = ()
    """The encoder's own inputs, which take the place of all that is linked to them."""

    @property
    def only(self) -> Group | None:
        """The inputs that set the whole text; None where that is not certain."""
        return self.groups[0] if self.complete and len(self.groups) == 1 else None


class TextFinder:
    """Finds the texts of a graph's encoders; what a link carries is looked up once."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._known: dict[tuple[Link, Side], Texts] = {}

    def encoders(self, starts: list[tuple[Link, Side]], *, pipes: list[Link], side: Side) -> Iterator[Texts]:
        """The texts of each encoder that a conditioning comes from, through any nodes in between.

        `starts`: the links to begin with, and their sides. `pipes`: bundles to look into where there are none.
        """
        stack: list[_Step] = [(node, slot, of, False) for (node, slot), of in reversed(starts)]
        stack += [] if starts else [(node, None, side, False) for node, _ in reversed(pipes)]
        seen = {step[:3] for step in stack}
        while stack:
            node, slot, of, regional = stack.pop()
            regional = regional or bool(_REGIONAL.search(class_of(self._wiring.graph, node)))
            following = self._sources(node, slot, of)
            if not following:
                found = self.at(node, slot, of)
                if found.groups or not found.complete:
                    own = tuple(Target(node, name) for name in self._sided(node, slot, of))
                    yield Texts(found.groups, found.complete, regional, own)
                    continue
                following = [(source, None, of) for source, _ in self._wiring.pipes(node)]
                following = following or [(*link, of) for link in self._wiring.passed(node, slot)]
            new = [step for step in following if step not in seen]
            seen.update(new)
            stack += [(*step, regional) for step in reversed(new)]

    def _sources(self, node: str, slot: int | None, side: Side) -> list[tuple[str, int | None, Side]]:
        switched = self._wiring.switched(node)
        if switched is not None:
            return [(*link, side) for link in switched]
        return [(*link, of) for link, of in self._wiring.conditionings(node, slot, side)]

    def at(self, node_id: str, slot: int | None, side: Side, depth: int = 0) -> Texts:
        """The texts that a node takes, for this side; without groups and complete: it takes none."""
        names = self._sided(node_id, slot, side)
        found = {name: self._input(node_id, name, side, depth) for name in names}
        if names and set(names) <= set(_TOGETHER):
            return _together(list(found.values()))
        inputs = inputs_of(self._wiring.graph, node_id)
        written = [each for name, each in found.items() if not _is_empty(inputs[name])]
        parts = written or list(found.values())
        groups = dict.fromkeys(group for each in parts for group in each.groups)
        return Texts(tuple(groups), all(each.complete for each in parts))

    def _input(self, node_id: str, name: str, side: Side, depth: int) -> Texts:
        link = link_of(inputs_of(self._wiring.graph, node_id)[name])
        return Texts(((Target(node_id, name),),)) if link is None else self.written(link, side, depth + 1)

    def written(self, link: Link, side: Side, depth: int = 0) -> Texts:
        """The inputs in which a linked text is written, through the nodes that make it."""
        known = self._known.get((link, side))
        if known is None:
            self._known[link, side] = Texts((), complete=False)  # while it is looked for: a graph may have a cycle
            known = self._known[link, side] = self._written(link, side, depth)
        return known

    def _written(self, link: Link, side: Side, depth: int) -> Texts:
        node_id, slot = link
        if node_id not in self._wiring.graph or depth > _DEEPEST:
            return Texts((), complete=False)
        if self.computes(node_id):
            return self._handed_over(link, side, depth)
        switched = self._wiring.switched(node_id)
        if switched is None:
            found = self.at(node_id, slot, side, depth)
            if found.groups or not found.complete:
                return Texts(found.groups, found.complete and not self._is_instruction(node_id, found))
        ways = [self.written(way, side, depth + 1) for way in switched or self._wiring.passed(node_id, slot)]
        groups = dict.fromkeys(group for way in ways for group in way.groups)
        return Texts(tuple(groups), bool(groups) and all(way.complete for way in ways))

    def _handed_over(self, link: Link, side: Side, depth: int) -> Texts:
        """The text that a node gets from others to make another of, looking at an image: an enhancer's is the prompt,
        a captioner's may be a question."""
        inputs = inputs_of(self._wiring.graph, link[0])
        names = [name for name in self._sided(*link, side) if link_of(inputs[name]) is not None]
        found = [self._input(link[0], name, side, depth) for name in names]
        groups = dict.fromkeys(group for each in found for group in each.groups)
        enhances = _ENHANCES.search(class_of(self._wiring.graph, link[0])) is not None
        return Texts(tuple(groups), bool(groups) and enhances and all(each.complete for each in found))

    def _is_instruction(self, node_id: str, found: Texts) -> bool:
        own = any(target.node_id == node_id for group in found.groups for target in group)
        return own and _ANSWERS.search(class_of(self._wiring.graph, node_id)) is not None

    def computes(self, node_id: str) -> bool:
        """Whether a node makes text of an image: what is written into it is a question, not a prompt text."""
        if _COMPUTES.search(class_of(self._wiring.graph, node_id)):
            return True
        found = self._wiring.links(node_id)
        return any(self._wiring.is_image(node_id, name, link) for name, link in found) and self._gives_text(node_id)

    def _gives_text(self, node_id: str) -> bool:
        """Whether what others take of a node is text (or masks), and no image."""
        known = self._wiring.class_at(node_id)
        if known is not None and known.outputs:
            return all(output.type in ("STRING", "MASK", "BBOX", "JSON") for output in known.outputs)
        names = [name for _, _, name in self._wiring.takers(node_id)]
        return bool(names) and all(_TEXT.fullmatch(name) or name in ("source", "mask") for name in names)

    def _sided(self, node_id: str, slot: int | None, side: Side) -> list[str]:
        """The names of the text inputs, of a node with texts for both sides those of the one."""
        names = text_inputs(self._wiring, node_id)
        sides = {name: side_of_name(name) for name in names}
        taken = (self._wiring.side_of((node_id, slot)) if slot is not None else None) or side
        own = [name for name in names if sides[name] == taken]
        if own or {"positive", "negative"} <= set(sides.values()):
            return own
        return [name for name in names if sides[name] is None]

    def plain(self, node_id: str, side: Side) -> list[str]:
        """The text inputs of a node for this side, of a graph without a sampler."""
        inputs, class_type = inputs_of(self._wiring.graph, node_id), class_of(self._wiring.graph, node_id)
        holds_text = side == "positive" and re.search("String|Text|Prompt", class_type) is not None
        plain = (*_PLAIN[side], "value") if holds_text else _PLAIN[side]
        names = [name for name in text_inputs(self._wiring, node_id) if name in plain]
        return [name for name in names if not _is_empty(inputs[name])] or names


def _together(found: list[Texts]) -> Texts:
    """Of an encoder with one text in several spellings."""
    if all(each.only for each in found):
        return Texts((tuple(dict.fromkeys(target for each in found for target in each.only or ())),))
    groups = dict.fromkeys(group for each in found for group in each.groups)
    return Texts(tuple(groups), complete=False)


def _is_empty(value: object) -> bool:
    return isinstance(value, str) and not value.strip()


def text_inputs(wiring: Wiring, node_id: str) -> list[str]:
    """The inputs of a node that hold or take a text that could be a prompt text."""
    inputs = inputs_of(wiring.graph, node_id)
    if _NO_TEXT_CLASS.search(class_of(wiring.graph, node_id)):
        return []
    if {"wildcard_text", "populated_text"} <= inputs.keys():
        # The server fills the wildcards in, unless the editor has done it for good.
        return ["wildcard_text" if inputs.get("mode") in (True, "populate", None) else "populated_text"]
    shows = bool(SHOWS.search(class_of(wiring.graph, node_id))) and bool(wiring.links(node_id))
    found = [name for name, value in inputs.items() if _takes_text(wiring, node_id, name, value)]
    dropped = found if shows else [name for name in found if _FILLS.fullmatch(name) and not _fills_in(inputs, found)]
    return [name for name in found if link_of(inputs[name]) is not None or name not in dropped]


def _fills_in(inputs: Mapping[str, Any], texts: list[str]) -> bool:
    """Whether what a node replaces is there in its text: then this is a template to be filled in."""
    sought = [value for name, value in inputs.items() if _SOUGHT.fullmatch(name) and isinstance(value, str) and value]
    within = [inputs[name] for name in texts if not _FILLS.fullmatch(name) and isinstance(inputs[name], str)]
    return any(each in text for each in sought for text in within)


def _takes_text(wiring: Wiring, node_id: str, name: str, value: object) -> bool:
    named = bool(name in _TOGETHER or _TEXT.fullmatch(name) or _SIDED.fullmatch(name))
    declared, link = wiring.declared(node_id, name), link_of(value)
    is_prompt = declared is not None and declared.dynamic_prompts and not _NEVER_TEXT.search(name)
    if (link is None and not isinstance(value, str)) or (_NO_TEXT.search(name) and not is_prompt):
        return False
    if link is not None:
        kind = wiring.carried(node_id, name, link)
        return named and not takes_any(name) if kind is None else kind == "STRING"
    if declared is None:
        return named
    return "STRING" in declared.types and (is_prompt or declared.multiline or named)


def title_says(wiring: Wiring, group: Group, side: Side) -> bool:
    """Whether the user titled one of these nodes as the text of this side."""
    return any(_titled(title_of(wiring.graph, target.node_id), side) for target in group)


def _titled(title: str | None, side: Side) -> bool:
    if not title:
        return False
    if side == "negative":
        return bool(_NEGATIVE_TITLE.search(title))
    is_encoder = "positive" in title.lower() and not _NEGATIVE_TITLE.search(title)
    return is_encoder or bool(_MINE.search(title) and not _NOT_MINE.search(title))

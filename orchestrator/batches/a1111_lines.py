"""Lines of options, as AUTOMATIC1111's script "Prompts from file or textbox" reads them.

    --prompt "photo of sunset" --negative_prompt "sea, lake" --width 1024 --sampler_name "DPM++ 2M Karras" --seed 9

Words are parted as a POSIX shell does it. A text goes on over further words, up to the next option.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.batches.a1111_names import checkpoint_name, sampler_inputs
from orchestrator.batches.foreign_formats import refuse_blocks
from orchestrator.batches.prompt_entry import PromptEntry
from orchestrator.batches.spec import LARGEST_COUNT
from orchestrator.batches.suggestions import advice
from orchestrator.batches.values import RANDOM_SEED, clean, fitted, is_random_seed, parted
from orchestrator.batches.vocabulary import Vocabulary, spelled
from orchestrator.errors import UsageError, located
from orchestrator.wording import named

_WHITESPACE = " \t\r\n"
_BEGINS = re.compile(r"--[A-Za-z]")
_TEXTS = {"prompt": "prompt", "negative_prompt": "negative"}
_NAMES = {"sd_model": "model", "cfg_scale": "cfg", "sampler_name": "sampler", "distilled_cfg_scale": "guidance"}
_WITHOUT_EFFECT = frozenset({"outpath_grids", "prompt_for_display", "do_not_save_grid"})
_ONLY = {
    "restore_faces": ("false",),
    "tiling": ("false",),
    "do_not_save_samples": ("false",),
    "subseed_strength": ("0", "0.0"),
    "subseed": ("-1", "0"),
    "seed_resize_from_h": ("-1", "0"),
    "seed_resize_from_w": ("-1", "0"),
}
"""What is not there with these values; burst has none of it with another one."""
_ELSEWHERE = {
    "styles": "write the style's text into the prompt",
    "sampler_index": "name the sampler with --sampler_name",
    "outpath_samples": "choose the directory with {output_dir}",
}
_COUNT = "count"
"""Of the images of a line, which no binding sets."""
_OPTIONS = (*_TEXTS, *_NAMES, "seed", "steps", "width", "height", "batch_size", "size", "scheduler", "lora", "denoise")
_OPTION_LIKE = re.compile(r"\s--?[A-Za-z]|\A[\u2013\u2014\u2212]")
_ANY = re.compile(
    r"^[^\S\n]*(?:[-=*/\u2013\u2014\u2212]|(?:positive|negative|prompt)(?: ?prompt)?(?: ?\d+)?:)|\s--?[a-z]",
    re.MULTILINE | re.IGNORECASE,
)
_MIDWAY = re.compile(r"(?<=\s)(--[A-Za-z][\w-]*)(?=\s|=|$)")
_DASH = re.compile(r"[\u2013\u2014\u2212]{1,2}(?=(negative_)?prompt\b)")
_INVOKE = re.compile(r"(?<=\s)-[sSCWHAnkUG] ?[\w.]+(?=\s+-[sSCWHAnkUG] ?[\w.]+(\s|$))")


@dataclass(frozen=True)
class Word:
    """One word of a line."""

    text: str
    at: int
    """Of its first character, from 0."""
    is_quoted: bool
    """Whether it begins with a quote."""

    @property
    def is_option(self) -> bool:
        return self.text.startswith("--") and not self.is_quoted


class LineFault(ValueError):
    """What is wrong in a line, and at which character, from 0."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.at = at


def are_plain(text: str) -> bool:
    """Whether `read_line` would leave all lines of a list as they are: one look instead of one at each."""
    return _ANY.search(text) is None


def read_line(entry: PromptEntry, vocabulary: Vocabulary) -> PromptEntry:
    """A line of a list: the text itself, or what its options say.

    Errors: UsageError that names file, line and column, also for what other tools take for options.
    """
    if not (entry.prompt.startswith("--") and _BEGINS.match(entry.prompt)):
        if _OPTION_LIKE.search(entry.prompt):
            _refuse_options_midway(entry)
        refuse_blocks(entry)
        return entry
    try:
        return _read(entry, vocabulary)
    except LineFault as fault:
        raise UsageError(f"{entry.where}, column {entry.column + fault.at}: {fault}") from fault


def _refuse_options_midway(entry: PromptEntry) -> None:
    """Errors: UsageError for a text with what other tools take for options, which would be sent as text."""
    text = entry.prompt
    if found := _DASH.match(text):
        what = f"{text.split()[0]!r} begins with a dash that a word processor made; write -- for it"
    elif found := _MIDWAY.search(text):
        what = f"{found[1]} looks like an option within a text; begin the line with --prompt to give options"
    elif found := _INVOKE.search(text):
        what = f"{found[0]!r} looks like an option of InvokeAI; write it as --prompt TEXT --steps 20 --width 512"
    else:
        return
    raise UsageError(
        f"{entry.where}, column {entry.column + found.start()}: {what}, or add {named('literal', True)} to send the "
        "line as it is"
    )


def words_of(line: str) -> list[Word]:
    """The words of a line, as `shlex.split` gives them. Errors: LineFault for a quote that is not closed."""
    return list(_words(line))


def _words(line: str) -> Iterator[Word]:
    at = 0
    while at < len(line):
        if line[at] in _WHITESPACE:
            at += 1
            continue
        start, pieces = at, list[str]()
        while at < len(line) and line[at] not in _WHITESPACE:
            if line[at] == "\\":
                if at + 1 == len(line):
                    raise LineFault(r"nothing follows this \; write \\ for the character", at)
                pieces.append(line[at + 1])
                at += 2
            elif line[at] in "'\"":
                piece, at = _quoted(line, at)
                pieces.append(piece)
            else:
                pieces.append(line[at])
                at += 1
        yield Word("".join(pieces), start, line[start] in "'\"")


def _quoted(line: str, start: int) -> tuple[str, int]:
    """What stands between the quote at `start` and the next one, and where that ends."""
    quote, at, pieces = line[start], start + 1, list[str]()
    while at < len(line) and line[at] != quote:
        if quote == '"' and line[at] == "\\" and line[at + 1 : at + 2] in ('"', "\\"):
            at += 1
        elif quote == '"' and line[at] == "\\" and at + 1 < len(line):
            pieces.append("\\")
            at += 1
        pieces.append(line[at])
        at += 1
    if at >= len(line):
        raise LineFault(
            f"this {quote} is not closed; write it again where the text ends, or \\{quote} for the character", start
        )
    return "".join(pieces), at + 1


def _read(entry: PromptEntry, vocabulary: Vocabulary) -> PromptEntry:
    told: dict[str, str] = {}
    inputs: dict[str, Any] = dict(entry.inputs)
    prompt, column = "", entry.column
    for option, first, value in _pairs(words_of(entry.prompt)):
        name = option.text[2:]
        place = f"{entry.where}, column {entry.column + option.at}, {option.text}"
        with located(place, UsageError):
            values = _values(name, value, vocabulary)
        for part in values:
            if part in told:
                raise LineFault(f"{option.text} sets {part}, which {told[part]} has set; leave one out", option.at)
            told[part] = option.text
        if "prompt" in values:
            prompt, column = values.pop("prompt"), entry.column + first.at + first.is_quoted
        inputs |= values
    if not prompt:
        raise LineFault("there is no --prompt in this line; write one", 0)
    count = inputs.pop(_COUNT, None)
    return replace(entry, prompt=prompt, inputs=inputs, count=count, has_model_stem="model" in inputs, column=column)


def _pairs(words: Sequence[Word]) -> Iterator[tuple[Word, Word, str]]:
    """Each option with the first word of its value, and the value."""
    at = 0
    while at < len(words):
        option = words[at]
        if not option.is_option:
            raise LineFault(
                f"{option.text!r} belongs to no option; put quotes around a value of several words", option.at
            )
        if at + 1 == len(words) or words[at + 1].is_option:
            raise LineFault(f"{option.text} has no value; write one behind it", option.at)
        end = at + 2
        while option.text[2:] in _TEXTS and end < len(words) and not words[end].is_option:
            end += 1
        yield option, words[at + 1], " ".join(word.text for word in words[at + 1 : end])
        at = end


def _count(value: str) -> int:
    if not (value.isascii() and value.isdecimal()) or not 1 <= int(value[:9]) <= LARGEST_COUNT:
        raise UsageError(f"a line has from 1 to {LARGEST_COUNT} images; {value!r} is not")
    return int(value)


def _values(name: str, value: str, vocabulary: Vocabulary) -> dict[str, Any]:
    """What one option sets, by binding. Errors: UsageError."""
    if name in _WITHOUT_EFFECT or value.casefold() in _ONLY.get(name, ()):
        return {}
    if name in _ONLY:
        raise UsageError(f"there is nothing like it here; {' or '.join(_ONLY[name])} is taken, or leave it out")
    if name in _ELSEWHERE:
        advised = _ELSEWHERE[name].format(output_dir=named("output_dir"))
        raise UsageError(f"it is not taken in a list; {advised}")
    if name == "prompt":
        return {"prompt": clean(value, name).strip()}
    if name == "seed" and is_random_seed(value):
        return {vocabulary.meaning(name): RANDOM_SEED}
    if name == "n_iter":
        return {_COUNT: _count(value)}
    meant = spelled(_NAMES.get(name, _TEXTS.get(name, name)))
    if meant == "sampler":
        return {vocabulary.meaning(part): each for part, each in sampler_inputs(value).items()}
    if not vocabulary.binds(meant) and name not in _OPTIONS and "." not in name:
        raise UsageError(f"no such option; {advice(f'--{name}', [f'--{option}' for option in _OPTIONS])}")
    meaning = vocabulary.meaning(meant)
    value = checkpoint_name(value) if meaning == "model" else value
    return parted(meaning, fitted(meaning, value))

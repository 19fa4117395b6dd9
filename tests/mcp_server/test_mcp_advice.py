"""What a message has a person type, an agent reads as a tool of its own, or as something to ask that person for."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.mcp_server.advice import commands, for_agent

ROOT = Path(__file__).parents[2]
ASK = "(ask the person who runs this host to type it)"


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("burst run", "the tool run_burst"),
        ("burst run --state 'my state.json' -n 5", "the tool run_burst"),
        ("burst status --watch", "the tool status"),
        ("burst verify --repair", "ask the person who runs this host to type `burst verify --repair`"),
        ("burst run --server-moved A B", "ask the person who runs this host to type `burst run --server-moved A B`"),
        ("a.txt is gone; restore it, then `burst retry`", "a.txt is gone; restore it, then the tool retry"),
        ("`burst retry 'my item' b` again", "the tool retry with names=['my item', 'b'] again"),
        ("`burst status b1` shows why", "the tool status with batch='b1' shows why"),
        ("`burst retry it's` again", 'the tool retry with names=["it\'s"] again'),
        ("give them up with `burst servers abandon gpu1`", f"give them up with `burst servers abandon gpu1` {ASK}"),
        ("burst did not put that there", "burst did not put that there"),
        ("burst run ended with exit code 3; see the log", "burst run ended with exit code 3; see the log"),
        ("see `burst_run` and `nvidia-smi`", "see `burst_run` and `nvidia-smi`"),
    ],
)
def test_advice_is_what_an_agent_can_do(said: str, read: str) -> None:
    document = {"error": {"kind": "X", "message": said}, "next": said, "notes": [said], "failures": [{"reason": said}]}
    found = for_agent(document)
    assert found["error"] == {"kind": "X", "message": read}
    assert (found["next"], found["notes"], found["failures"]) == (read, [read], [{"reason": read}])


def test_what_is_somebody_elses_is_left_as_it_is() -> None:
    document = {"prompt": "`burst run`", "item": "burst run", "next": [{"prompt": "burst run"}], "remaining": 3}
    assert for_agent(document) == document


HUMAN = {"commands", "comfyui_node", "demo.py", "documents", "fleet", "sandbox", "scheduling", "web"}
"""What no agent is told."""


def messages() -> Iterator[tuple[str, str]]:
    """File and line → a text of the code that is no docstring, of files that may name a command."""
    for room in ("orchestrator", "state", "templates"):
        for path in sorted((ROOT / room).rglob("*.py")):
            if HUMAN.isdisjoint(path.parts) and "burst " in (source := path.read_text()):
                nodes = list(ast.walk(ast.parse(source)))
                docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
                for node in nodes:
                    if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                        yield f"{path.relative_to(ROOT)}:{node.lineno}", node.value


def test_every_message_names_commands_in_backticks() -> None:
    """Or is one as a whole, or `Next:` with one for a person, so that they are found in it."""
    names = "|".join(sorted(commands()))
    loose = re.compile(rf"(?<![`\w.-])burst (?:{names})\b(?! (?:of|that|is|was|has|at|on|goes|ended|ends|left)\b)")
    whole = re.compile(r"^burst [\w -]+$|Next: .*")
    assert {place: text for place, text in messages() if loose.search(whole.sub("", text))} == {}

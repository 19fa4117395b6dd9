"""The SKILL.md: the burst protocol, with commands and exit codes as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import click

from orchestrator.commands.command_tree import commands_of
from orchestrator.commands.exit_codes import exit_codes

_NEXT_STEPS: Mapping[int, str] = {
    0: "Look at `remaining`: 0, finished; otherwise the next burst.",
    1: "Go on with the next burst; see Failed items at the end.",
    2: "Read `error.message`, change what it names, then call again. Ask your user where it is not yours to change.",
    70: "Call once more; if it repeats, report the message.",
    75: "Wait 10 s and call again. Not an error of yours.",
    129: "As after −15, above.",
    130: "As after −15, above.",
    143: "As after −15, above.",
}
"""What an agent does after each exit code of a run."""
_LISTED = (
    *("init", "generate", "run", "status", "retry", "cancel", "edit", "pause", "log", "doctor", "report", "verify"),
    *("template list", "template check", "commands", "schema"),
)
_TEXT = """\
---
name: burst
description: Render many ComfyUI images or videos in short, resumable bursts with the `burst` command line. Use it for
  hundreds of prompts, a table or a folder of images on a ComfyUI server; when long processes are killed here (SIGTERM,
  exit code -15, a tool's time limit); and to check, continue, retry, cancel or report such a job.
---
# Burst: ComfyUI jobs in short runs

Work as a burst orchestrator, not as a background worker: **one short run per tool call**. Everything is in a state file
(`re_render_state.json`). A run that is killed at any moment loses nothing and renders nothing twice: the next one goes
on. So never write a loop over hundreds of items, and never poll ComfyUI yourself.

## Protocol
1. **State the goal**: how many images, of what, which workflow, which server, where they go.
2. **Look first**: `burst status --json`. If a state is there, continue it; do not start over.
3. **Check**: `burst doctor --json` looks at server, workflow, models and disk, and says what to type next.
4. **Add the work**, with a `--name` of your choice: the same call again then adds nothing. `init` never adds twice.
   - a folder of prompt files: `burst init prompts --template workflow_api.json --server 127.0.0.1 --json`
   - a prompt a line: `burst generate --name ideas --prompts-file ideas.txt --queue-only --json`
   - variations: `burst generate --name sea --prompt "a lighthouse" --count 8 --sweep cfg=5,7 --queue-only --json`
   - a table, a row an image: `burst generate --name cast --csv list.csv --queue-only --json`
   - a folder of images: `burst init --images photos --template workflow_api.json --json`

   The first call names `--template`, `--server` and `--output`; later ones remember them.
5. **Run bursts**, one a call: `burst run -n 15 --max-seconds 45 --json`; let it end 15 s before your call's limit.
6. **Report after each burst**: `completed` of this burst, progress (`total` − `remaining` of `total`), `next_batch`.
7. **Repeat 5 and 6** until `remaining` is 0. `burst status --check` exits with 0 (nothing left), 1 (work remains) or
   3 (nothing left, some failed). If two bursts in a row end nothing, stop: `burst doctor --json`.
8. **Finish**: `burst verify --quick --json` checks the files; `burst report BATCH --html` makes a page of a batch.

## After −15 (SIGTERM), or a call that did not return
1. Do not restart a long loop. Do not edit, reset or delete the state. Nothing is lost.
2. `burst status --json` shows what is done, and how the last burst ended.
3. Go on with `burst run -n auto --max-seconds 30 --json`: `auto` takes 15 items, after a kill 5, then 1, and grows back
   with clean bursts. What the server rendered meanwhile is collected first.
4. If requests time out or are refused as too many, add `--poll-interval 10`.
5. Exit code 75 with "another run": the killed one still ends. Wait, or add `--wait-lock 20`.

## Exit codes of `burst run`
{exit_codes}

## Failed items
`burst status --json` lists them as `failures`, each with `item`, `kind` and `message`; the message says what to do.
`burst edit ITEM --prompt TEXT` changes one, `burst retry` makes all failed ones due again, `burst retry ITEM` one.
An item that fails the same way twice needs a change, not a third try.

## JSON
`--json` prints one object on stdout. Long lists hold their first ten entries, `NAME_total` counts them, `--all` prints
them whole. An error is `burst.error/1`: `error.kind`, `error.message` and `exit_code`. `burst commands run --json`
tells every option of a command, `burst schema report` the fields of a document.

## Commands
{commands}

Only when your user asks for it: `burst reset`, `burst forget`, `burst trash`, `burst run --overwrite`,
`burst run --abandon-server NAME`.
"""


def skill_text(root: click.Group) -> str:
    return _TEXT.format(exit_codes="\n".join(_exit_codes()), commands="\n".join(_commands(root)))


def _exit_codes() -> Iterator[str]:
    yield "| code | means | do |"
    yield "|---|---|---|"
    for code, meaning in exit_codes("run").items():
        yield f"| {code} | {meaning} | {_NEXT_STEPS[code]} |"


def _commands(root: click.Group) -> Iterator[str]:
    summaries = {node.name: node.command.get_short_help_str(limit=200) for node in commands_of(root)}
    for name in _LISTED:
        yield f"- `burst {name}`: {summaries[name]}"

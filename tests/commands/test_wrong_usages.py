"""Wrong usages of every command: one message that names the place and what to do, the right code, nothing written.

A new option or command adds its rows to `ROWS`.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.projects import ROOT
from support.workbooks import workbook

from burst import cli

Files = dict[str, tuple[int, ...]]
SECRET = "hunter2secret"
NOBODY = "http://127.0.0.1:1"
"""Refuses at once."""

TWO_TEXTS = {
    "1": {"class_type": "Text Multiline", "inputs": {"text": "a house"}},
    "2": {"class_type": "Text Multiline", "inputs": {"text": "oil painting"}},
    "3": {"class_type": "StringConcatenate", "inputs": {"string_a": ["1", 0], "string_b": ["2", 0], "delimiter": ""}},
    "4": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}},
    "5": {"class_type": "SaveImage", "inputs": {"images": ["4", 0], "filename_prefix": "x"}},
    "6": {"class_type": "PreviewAny", "inputs": {"source": ["3", 0]}},
}
"""No text of the two is certainly the prompt."""

PASSWORD = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1000) + "EncryptedPackage".encode("utf-16-le")
"""As Excel keeps a workbook with a password."""

ROWS: dict[str, list[tuple[str, ...]]] = {
    "commands": [
        ("frobnicate", "frobnicate", "there are"),
        ("statsu", "did you mean 'status'"),
        ("batches lst", "did you mean 'list'?"),
        ("template chek", "did you mean 'check'?"),
        ("node instal", "did you mean 'install'"),
        ("--frobnicate", "--frobnicate"),
    ],
    "for agents": [
        ("commands nope", "nope", "did you mean"),
        ("schema nope", "nope", "did you mean"),
        ("skill frobnicate", "frobnicate", "there are", "install", "show"),
        ("mcp extra", "extra"),
    ],
    "unattended": [
        ("schedule", "choose when", "--every", "--at"),
        ("schedule --every 7m", "7m"),
        ("schedule --at 25:00-07:00", "25:00"),
        ("metrics --frobnicate", "No such option"),
    ],
    "state": [
        ("state cpoy a b", "cpoy", "copy"),
        ("state upgrade extra", "extra"),
        ("state upgrade --state nowhere.json", "nowhere.json", "no state here"),
        ("state upgrade --state sqlite:///nowhere.db", "nowhere.db", "no state here"),
        ("state upgrade --frobnicate", "--frobnicate"),
        ("state copy", "FROM"),
        ("state copy a.json", "TO"),
        ("state copy nowhere.json b.json", "nowhere.json", "no state here"),
        ("state copy a.json a.json", "a.json", "another place"),
        ("state copy --frobnicate a b", "--frobnicate"),
    ],
    "registered servers": [
        ("servers ad http://gpu", "ad", "add"),
        ("servers add", "URL"),
        ("servers add ftp://gpu", "SERVER", "must be http://"),
        ("servers add gpu/1=http://gpu", "SERVER", "NAME=URL"),
        (f"servers add http://u:{SECRET}@gpu", "password", "http://gpu", "env:VARIABLE"),
        (f"servers add http://gpu?key={SECRET}", "SERVER", "--header"),
        ("servers add http://gpu --window -1", "--window", "-1"),
        ("servers add http://gpu --label ''", "label", "1 to 64"),
        ("servers add http://gpu --label big,fast", "label", "comma"),
        ("servers add gpu1=http://gpu gpu2=http://gpu", "gpu1", "gpu2", "name it once"),
        ("servers add http://gpu --state nowhere.json", "nowhere.json", "no state here"),
        ("servers list extra", "extra"),
        ("servers list --state nowhere.json", "nowhere.json", "no state here"),
        ("servers remove", "SERVER"),
        ("servers remove gpu9", "gpu9", "none is"),
        ("servers drain gpu9", "gpu9", "none is"),
        (f"servers drain http://u:{SECRET}@gpu", "http://gpu", "none is"),
        ("servers enable gpu9 --frobnicate", "--frobnicate"),
        ("servers enable gpu9", "gpu9", "none is"),
        ("servers abandon", "SERVER"),
        ("servers clean gpu9", "SERVER", "no address is known", "gpu9"),
        ("servers clean --folder nowhere", "--folder nowhere", "no such directory"),
        ("servers clean --folder ''", "--folder", "the path is empty"),
        ("servers clean http://gpu http://gpu:1 --folder dir", "--folder dir", "one server"),
        ("servers clean --output plain.txt", "--output plain.txt", "name a directory"),
        ("servers clean --state nowhere.json", "nowhere.json", "no state here"),
        ("servers add http://gpu --abandon-after -1", "--abandon-after", "-1"),
        ("servers add http://gpu --abandon-after soon", "--abandon-after", "soon"),
        ("init prompts --needs", "--needs"),
        ("generate --prompt x --needs", "--needs"),
        ("update --needs", "--needs"),
        ("sync list.csv --name x --needs", "--needs"),
        ("stage . t.json --needs", "--needs"),
        ("servers abandon gpu9", "SERVER", "knows no such server"),
        (f"servers abandon http://u:{SECRET}@gpu", "knows no such server"),
    ],
    "pause": [
        ("pause extra", "extra"),
        ("pause --free yes", "yes"),
        ("pause --frobnicate", "--frobnicate"),
        ("pause --state nowhere.json", "nowhere.json"),
        ("pause --state sqlite:///nowhere.db", "nowhere.db: there is no state here"),
        ("pause --state sqlite://nowhere.db", "--state", "expected sqlite:///FILE"),
        ("pause --state sqlite:///:memory:", "--state", "expected sqlite:///FILE"),
        (f"pause --state mysql://u:{SECRET}@h/burst", "--state", "mysql://…: expected a file, sqlite:///FILE or"),
        (f"pause --state postgresql://u:{SECRET}@127.0.0.1:port/burst", "--state", "not an address"),
        ("pause --server ftp://x", "--server"),
    ],
    "fleet": [
        ("fleet upp", "did you mean 'up'?"),
        ("fleet up extra", "extra"),
        ("fleet up --frobnicate", "--frobnicate"),
        ("fleet up", "re_render_state.json: a fleet works on a state in PostgreSQL", "burst state copy"),
        ("fleet up --state sqlite:///burst.db", "a fleet works on a state in PostgreSQL"),
        ("fleet status extra", "extra"),
        ("fleet status", "a fleet works on a state in PostgreSQL"),
        ("fleet status --frobnicate", "--frobnicate"),
    ],
    "worker": [
        ("worker extra", "extra"),
        ("worker --frobnicate", "--frobnicate"),
        ("worker", "re_render_state.json: a fleet works on a state in PostgreSQL", "burst state copy"),
        ("worker --state sqlite:///burst.db", "a fleet works on a state in PostgreSQL"),
        ("worker --max-bursts 0", "--max-bursts", "0"),
        ("worker --max-seconds 0", "--max-seconds", "0"),
        ("worker --max-seconds nan", "--max-seconds"),
        ("worker -n few", "few"),
        ("worker -n 0", "0"),
        (f"worker --state mysql://u:{SECRET}@h/burst", "--state", "mysql://…"),
        ("worker --server gpu1=http://127.0.0.1:8188", "--server", "its name alone"),
    ],
    "adopt": [
        ("adopt extra", "extra"),
        ("adopt --frobnicate", "--frobnicate"),
        ("adopt --server ftp://x", "--server"),
        (f"adopt --server {NOBODY}/comfy?key=1", "--header"),
        ("adopt --server http://127.0.0.1:1 --template smoke", "--template", "leave it out"),
        ("adopt --server http://127.0.0.1:1 --bind prompt=1.text", "--bind", "leave it out"),
        ("adopt --server http://127.0.0.1:1 --state ''", "--state"),
    ],
    "resume": [
        ("resume extra", "extra"),
        ("resume --free", "--free"),
        ("resume --state nowhere.json", "nowhere.json"),
    ],
    "run": [
        ("run --frobnicate", "--frobnicate"),
        ("run extra", "extra"),
        ("run --items", "--items", "requires an argument"),
        ("run --items 0", "--items", "0 is not from 1"),
        ("run --items -1", "--items", "-1 is not from 1"),
        ("run --items ten", "--items", "'ten'", "auto"),
        ("run --items nan", "--items", "'nan'"),
        ("run --items 1.5", "--items", "'1.5'"),
        ("run --items ''", "--items"),
        ("run --items 99999999999999999999999", "--items", "to 1000000000"),
        ("run --size 0", "--size", "0 is not from 1"),
        ("run --size 3 --items 4", "--size", "old name of --items"),
        ("run --max-seconds -1", "--max-seconds", "-1.0 is not from 0"),
        ("run --max-seconds nan", "--max-seconds", "nan"),
        ("run --max-seconds inf", "--max-seconds", "inf"),
        ("run --max-seconds 1e300", "--max-seconds", "to 1000000000 seconds"),
        ("run --max-seconds ten", "--max-seconds", "'ten'"),
        ("run --until seven", "--until", "'seven'", "HH:MM"),
        ("run --until 24:30", "--until", "'24:30'", "HH:MM"),
        ("run --until ''", "--until", "HH:MM"),
        ("run --between 22:00", "--between", "'22:00'", "22:00-07:00"),
        ("run --between 22:00-7", "--between", "'7'", "HH:MM"),
        ("run --between 07:00-07:00", "--between", "begins and ends at one time"),
        ("run --on-error explode", "--on-error", "'explode'", "'stop', 'continue'"),
        ("run --max-attempts 0", "--max-attempts", "0 is not from 1"),
        ("run --max-attempts -3", "--max-attempts", "-3 is not from 1"),
        ("run --max-attempts x", "--max-attempts", "'x'"),
        ("run --max-attempts 99999999999", "--max-attempts", "to 1000000000"),
        ("run --ahead -1", "--ahead", "-1 is not from 0"),
        ("run --ahead x", "--ahead", "'x'"),
        ("run --ahead 99999999999", "--ahead", "to 1000000000"),
        ("run --poll-interval 0", "--poll-interval", "is not from 0.001"),
        ("run --poll-interval -1", "--poll-interval", "-1.0"),
        ("run --poll-interval nan", "--poll-interval", "nan"),
        ("run --poll-interval inf", "--poll-interval", "inf"),
        ("run --poll-interval 1e300", "--poll-interval", "1e+300"),
        ("run --poll-interval x", "--poll-interval", "'x'"),
        ("run --wait-lock -1", "--wait-lock", "-1.0"),
        ("run --wait-lock nan", "--wait-lock", "nan"),
        ("run --wait-lock inf", "--wait-lock", "inf"),
        ("run --wait-lock x", "--wait-lock", "'x'"),
        ("run --wait-server -1", "--wait-server", "-1.0 is not from 0"),
        ("run --wait-server nan", "--wait-server", "nan"),
        ("run --wait-server inf", "--wait-server", "inf"),
        *(
            (f"run --stall-seconds {value}", "--stall-seconds", words)
            for value, words in {
                "0": "0 is out of range",
                "-5": "-5 is out of range",
                "nan": "nan is out of range",
                "inf": "`off`",
                "soon": "'soon' is neither",
                "OFF": "'OFF' is neither",
            }.items()
        ),
        ("run --wait-server x", "--wait-server", "'x'"),
        ("generate --prompt x --allow-spend -1", "--allow-spend", "-1 is not from 0"),
        ("run --allow-spend -1", "--allow-spend", "-1 is not from 0"),
        ("run --allow-spend x", "--allow-spend", "'x'"),
        ("run --allow-spend 1.5", "--allow-spend", "'1.5'"),
        ("run --free-every 0", "--free-every", "0 is not from 1"),
        ("run --free-every -1", "--free-every", "-1 is not from 1"),
        ("run --free-every x", "--free-every", "'x'"),
        ("run --free-every 1.5", "--free-every", "'1.5'"),
        ("run --restart reboot", "--restart"),
        ("run -q -v", "choose one", "--quiet", "--verbose"),
        ("run --template no-such", "no-such", "No such file", "txt2img-sd15"),
        ("run --template dir", "dir", "Is a directory"),
        ("run --template editor.json", "editor.json", "the graph is empty"),
        ("run --template ui.json", "ui.json", "EmptyImage", "no server answers", "Export (API)"),
        ("run --template damaged.json", "damaged.json", 'a node has no "id"'),
        ("run --template plain.png", "plain.png", "no workflow of ComfyUI is in this file"),
        ("run --bind prompt", "--bind prompt", "NAME=ADDRESS"),
        ("run --bind =6.text", "--bind =6.text", "NAME=ADDRESS"),
        ("run --bind promt=6.text", "--bind promt", "did you mean 'prompt'?"),
        ("run --output plain.txt", "--output plain.txt", "name a directory"),
        ("run --outputs ''", "--outputs ''", "a name is empty"),
        ("run --outputs 9,,7", "--outputs '9,,7'", "a name is empty"),
        ("run --output ''", "--output", "path is empty"),
        ("run --output s3://", "--output: 's3://'", "not the name of a bucket", "s3://BUCKET/PREFIX"),
        ("run --output s3://Bad_Name/x", "--output", "'Bad_Name' is not the name of a bucket"),
        ("run --output s3://10.0.0.1/x", "--output", "'10.0.0.1' is not the name of a bucket"),
        (f"run --output s3://AKID:{SECRET}@bucket/x", "--output", "holds no keys", "AWS_SECRET_ACCESS_KEY"),
        ("run --output s3://localhost:9000/bucket", "--output", "no host", "AWS_ENDPOINT_URL_S3"),
        ("run --output s3://bucket/a/../b", "--output", "plain names", "without . and .."),
        ("run --output s3://bucket/a?b", "--output", "plain names"),
        ("run --output s3:/bucket/x", "--output", "write s3://BUCKET/PREFIX"),
        ("run --output gs://bucket/x", "--output", "name a directory, s3://BUCKET/PREFIX or root://NAME"),
        ("run --output root:/shared/x", "--output", "write root://NAME or root://NAME/DIRECTORY"),
        ("run --output root://", "--output", "write root://NAME or root://NAME/DIRECTORY"),
        ("run --output root://sha:red/x", "--output", "a name of letters, digits, - and _"),
        ("run --output root://shared/../x", "--output", "plain names with one / between them"),
        ("run --output root://nowhere/x", "--output", "this host has no root of this name", "host.toml", "[roots]"),
        ("run --log-file dir", "--log-file dir", "a directory stands where a file should be"),
        ("run --log-file nowhere/x.log", "--log-file nowhere/x.log", "No such file or directory"),
    ],
    "servers": [
        ("run --server ''", "--server", "no address", NOBODY.replace(":1", ":8188")),
        ("run --server htp://127.0.0.1:1", "--server", "must be http:// or https://"),
        ("run --server http//127.0.0.1:1", "--server", "must be http:// or https://"),
        ("run --server http:/127.0.0.1:1", "--server", "must be http:// or https://"),
        ("run --server http://", "--server", "must be http:// or https://"),
        ("run --server http://127.0.0.1:abc", "--server", "cannot be read"),
        ("run --server http://127.0.0.1:99999", "--server", "cannot be read"),
        ("run --server 127.0.0.1:0", "--server", "port 0", "http://127.0.0.1:8188"),
        ("run --server 'http://127.0.0.1 :1'", "--server", "address 2 of 2"),
        ("run --server ftp://127.0.0.1", "--server", "must be http:// or https://"),
        ("run --server file:///etc/passwd", "--server", "must be http:// or https://"),
        ("run --server 'http://[::1'", "--server", "cannot be read"),
        ("run --server a=b=c", "--server", "a = in its host"),
        ("run --server =http://127.0.0.1:1", "--server", "no name before =", "NAME=URL"),
        ("run --server gpu1=", "--server", "must be http:// or https://"),
        ("run --server 'http://127.0.0.1:1?x=1'", "--server", "leave out what follows ? or #"),
        ("run --server a=127.0.0.1:1 --server a=127.0.0.1:2", "a is both", "another name"),
        (f"run --server http://user:{SECRET}@127.0.0.1:abc", "--server", "cannot be read"),
        ("run --server-moved gpu1", "--server-moved", "OLD=NEW"),
        ("run --server-moved =", "--server-moved", "OLD=NEW"),
        ("run --server-moved gpu1=", "--server-moved", "OLD=NEW"),
        ("run --server-moved gpu7=http://127.0.0.1:2", "--server-moved", "nothing is known of gpu7"),
        (f"run --server-moved {NOBODY}=ftp://x", "--server-moved", "must be http:// or https://"),
        ("run --abandon-server http://127.0.0.1:2", "--abandon-server", "it knows", NOBODY),
        ("run --abandon-server gpu1", "--abandon-server", "it knows", NOBODY),
        ("run --abandon-server ''", "--abandon-server", "it knows", NOBODY),
        (f"run --header {SECRET}", "--header", "'Name: value'"),
        (f"run --header ': {SECRET}'", "--header", "'Name: value'"),
        (f"run --header 'Bad Name: {SECRET}'", "--header", "letters, digits and dashes"),
        (f"run --header X-Key: {SECRET}", "--header", "'Name: value'"),
        ("run --header 'X-Key: env:'", "--header", "no variable after env:"),
        (f"generate --prompt x --header {SECRET}", "--header", "'Name: value'"),
        (f"init prompts --header {SECRET}", "--header", "'Name: value'"),
        (f"cancel --all --header {SECRET}", "--header", "'Name: value'"),
        (f"doctor --header {SECRET}", "--header", "'Name: value'"),
        ("init prompts --server htp://x", "--server", "must be http:// or https://"),
        ("update --server htp://x", "--server", "must be http:// or https://"),
        ("cancel --all --server htp://x", "--server", "must be http:// or https://"),
        ("generate --prompt x --server htp://x:8188", "--server", "must be http:// or https://"),
        ("template check smoke --server htp://x", "--server", "must be http:// or https://"),
    ],
    "generate: where prompts come from": [
        ("generate", "choose one source of prompts", "--prompts-file", "none given"),
        ("generate --prompt x --prompt-file plain.txt", "choose one", "--prompt and --prompt-file are given"),
        ("generate --prompt x --from list.json", "choose one", "--prompt and --from are given"),
        ("generate prompt", "unexpected extra argument (prompt)"),
        ("generate --prompt ''", "--prompt", "empty"),
        ("generate --prompt-file none.txt", "--prompt-file none.txt", "No such file"),
        ("generate --prompt-file dir", "--prompt-file dir", "Is a directory"),
        ("generate --prompt-file empty.txt", "empty.txt", "no prompt"),
        ("generate --prompts-file empty.txt", "empty.txt", "no prompt"),
        ("generate --csv none.csv", "--csv none.csv", "No such file"),
        ("generate --csv dir", "--csv dir", "Is a directory"),
        ("generate --csv no_prompt.csv", "no_prompt.csv line 1", "`prompt`", "'seed'"),
        ("generate --csv bad_seed.csv", "bad_seed.csv line 2", "column 'seed'", "'abc'"),
        ("generate --csv bad_column.csv", "bad_column.csv line 1", "column 'stesp'", "'steps'"),
        ("generate --csv no_heading.csv", "no_heading.csv line 1 is not a heading row", "'a cat'"),
        ("generate --csv decimal.csv", "decimal.csv line 4", "column 'cfg'", "'7,5,1'"),
        ("generate --csv no_image.csv --template img2img", "line 2, column 'image'", "cat.png", "server:cat.png"),
        ("generate --csv bad_row.csv", "bad_row.csv line 2, column 'count'", "1 to 999"),
        ("generate --csv no_template.csv", "no_template.csv line 2, column 'template'", "did you mean 'smoke'"),
        ("generate --csv password.xlsx", "password.xlsx", "--xlsx FILE"),
        ("generate --xlsx none.xlsx", "--xlsx none.xlsx", "No such file"),
        ("generate --xlsx password.xlsx", "password.xlsx", "password; save it without one"),
        ("generate --xlsx formula.xlsx", "formula.xlsx sheet 'Prompts' row 2, column 'steps'", "cell B2", "formula"),
        ("generate --xlsx good.xlsx --sheet Promts", "good.xlsx", "'Promts'", "did you mean 'Prompts'"),
        ("generate --xlsx bad_seed.csv", "bad_seed.csv", "not an Excel workbook", "--csv FILE"),
        ("generate --csv bad_seed.csv --sheet a", "--sheet a", "--xlsx FILE"),
        ("generate --xlsx good.xlsx --sheet ''", "--sheet", "empty"),
        ("generate --prompt x --ignore-columns", "--ignore-columns", "--csv, --jsonl, --xlsx"),
        ("generate --prompt x --xlsx good.xlsx", "choose one", "--prompt and --xlsx are given"),
        ("generate --jsonl none.jsonl", "--jsonl none.jsonl", "No such file"),
        ("generate --jsonl bad.jsonl", "bad.jsonl line 2", "JSON"),
        ("generate --jsonl bad_key.jsonl", "bad_key.jsonl line 2", "'prmpt'"),
        ("generate --from none.png", "--from none.png", "No such file"),
        ("generate --from plain.txt", "plain.txt", "sidecar", "PNG"),
    ],
    "init: values of new items": [
        ("init prompts --seed abc", "--seed", "'abc'"),
        ("init prompts --seed -2", "--seed", "0 to 18446744073709551615"),
        ("init prompts --seed-mode increment", "--seed-mode", "'increment'"),
        ("init prompts --seed-mode fixed", "--seed-mode fixed", "give --seed too"),
        ("init prompts --seed 1 --seed-mode random", "--seed-mode random", "leave --seed out"),
        ("init prompts --set stesp=1", "--set stesp", "did you mean 'steps'"),
        ("init prompts --set seed=1", "--set seed", "use --seed"),
        ("init prompts --set steps", "--set steps", "NAME=VALUE"),
        ("init --seed 1", "--seed", "name a directory"),
    ],
    "sync": [
        ("sync", "Missing argument 'LIST'"),
        ("sync good.csv", "--name"),
        ("sync good.csv other.csv --name cast", "other.csv"),
        ("sync none.csv --name cast", "--csv none.csv", "No such file"),
        ("sync prompts --name cast", "prompts: a list ends in one of .csv"),
        ("sync list.json --name cast", "list.json: a list ends in one of .csv"),
        ("sync - --name cast", "a list ends in one of .csv"),
        ("sync good.csv --name 'a b'", "--name", "letters"),
        ("sync good.csv --name ''", "--name", "letters"),
        ("sync good.csv --name cast --frobnicate", "--frobnicate"),
        ("sync good.csv --name cast --count 0", "--count 0", "1 to 999"),
        ("sync good.csv --name cast --prune yes", "yes"),
        ("sync good.csv --name cast --sheet a", "--sheet a", "--xlsx FILE"),
        ("sync good.csv --name cast --set stesp=1", "--set stesp", "did you mean 'steps'"),
        ("sync good.csv --name cast --output plain.txt", "--output plain.txt", "a file stands there"),
        ("sync bad_seed.csv --name cast", "bad_seed.csv line 2", "column 'seed'"),
        ("sync twice.csv --name cast", "twice.csv line 2", "line 3", "the id 'x'"),
        ("sync password.xlsx --name cast", "password.xlsx", "password; save it without one"),
        ("sync good.csv --name knights --layout batch", "--layout batch", "(knights)", "numbered"),
        ("sync good.csv --name knights --stem hero", "--stem hero", "(knights)", "leave it out"),
        ("sync good.csv --name knights --template smok", "smok", "did you mean 'smoke'"),
        ("sync good.csv --name cast --state dir", "dir"),
    ],
    "generate: values": [
        ("generate --prompt x --count 0", "--count 0", "1 to 999"),
        ("generate --prompt x --count 1000", "--count 1000", "1 to 999"),
        ("generate --prompt x --count -1", "--count -1", "1 to 999"),
        ("generate --prompt x --count two", "--count", "'two'"),
        ("generate --prompt x --seed -2", "--seed", "0 to 18446744073709551615", "-2"),
        ("generate --prompt x --seed 99999999999999999999", "--seed", "0 to 18446744073709551615"),
        ("generate --prompt x --seed abc", "--seed", "'abc'"),
        ("generate --prompt x --seed 1.5", "--seed", "'1.5'"),
        ("generate --prompt x --seed 18446744073709551615 --count 2", "--seed", "18446744073709551615"),
        ("generate --prompt x --seed 1 --seed-mode random", "--seed-mode random", "leave --seed out"),
        ("generate --prompt x --seed-mode odd", "--seed-mode", "'odd'", "'increment'"),
        ("generate --prompt x --sweep steps", "--sweep steps", "NAME=VALUE"),
        ("generate --prompt x --sweep steps=", "--sweep steps=", "empty"),
        ("generate --prompt x --sweep steps=1,,2", "--sweep steps=1,,2", "comma"),
        ("generate --prompt x --sweep =1,2", "--sweep =1,2", "NAME=VALUE"),
        ("generate --prompt x --sweep stesp=1,2", "--sweep stesp", "did you mean 'steps'"),
        ("generate --prompt x --sweep steps=1,two", "--sweep steps=1,two", "whole number", "'two'"),
        ("generate --prompt x --sweep steps=1,1", "--sweep steps", "twice"),
        ("generate --prompt x --sweep steps=1,2 --sweep steps=3", "--sweep steps", "given twice"),
        ("generate --prompt x --sweep steps=1,2 --steps 4", "--steps and --sweep steps"),
        ("generate --prompt x --sweep seed=1,2 --count 2", "--sweep seed", "leave out --count"),
        ("generate --prompt x --sweep {a}=1,2", "prompt: --sweep '{a}' is in none of its texts", "write {a} where"),
        ("generate --prompt {b} --sweep {a}=1,2", "--sweep '{a}'", "did you mean {b}?"),
        ("generate --prompt '{a} {b}' --sweep {a}=1,2", "no --sweep sets {b}", "--literal"),
        ("generate --prompt {a} --sweep '{a}={b|c}'", "'{b|c}' looks like a dynamic prompt", "--dynamic", "--literal"),
        ("generate --prompt {a} --sweep {a|b}=1,2", "--sweep '{a|b}=1,2'", "is not a placeholder"),
        ("generate --prompt x --sweep prompt:y=1,2", "--sweep prompt:y", "'y' is not in its prompt"),
        ("generate --prompt x --sweep prompt:=1,2", "--sweep prompt:", "no binding"),
        ("generate --prompt x --sweep promt:x=1,2", "--sweep promt:x", "did you mean"),
        ("generate --prompt x --sweep prompt:x=1 --sweep positive:x=2", "--sweep prompt:x", "given twice"),
        ("generate --prompt {a} --dynamic --combinatorial --sweep {a}=1", "--combinatorial", "--sweep '{a}'"),
        ("generate --prompt x --lora ''", "--lora", "empty"),
        ("generate --prompt x --lora :1", "--lora", "':1'", "NAME:STRENGTH"),
        ("generate --prompt x --lora a:101", "--lora", "lora_strength", "-100 to 100"),
        ("generate --prompt x --lora a --template smoke", "'a'", "no sampler", "template smoke"),
        ("generate --prompt x --steps 0", "--steps", "from 1 to 10000"),
        ("generate --prompt x --steps -5", "--steps", "from 1 to 10000"),
        ("generate --prompt x --steps many", "--steps", "'many'"),
        ("generate --prompt x --steps 1000000000", "--steps", "from 1 to 10000"),
        ("generate --prompt x --cfg nan", "cfg is a number", "nan"),
        ("generate --prompt x --cfg inf", "cfg is a number", "inf"),
        ("generate --prompt x --cfg -1", "cfg is from 0 to 100", "-1.0"),
        ("generate --prompt x --cfg 1e300", "cfg is from 0 to 100"),
        ("generate --prompt x --cfg high", "--cfg", "'high'"),
        ("generate --prompt x --sampler ''", "--sampler", "empty"),
        ("generate --prompt x --model ''", "--model", "empty"),
        ("generate --prompt x --size 512", "--size 512", "1024x768"),
        ("generate --prompt x --size axb", "--size axb", "1024x768"),
        ("generate --prompt x --size 512x", "--size 512x", "1024x768"),
        ("generate --prompt x --size -512x512", "--size -512x512", "1024x768"),
        ("generate --prompt x --size 0x512", "--size 0x512", "8x512 is the nearest"),
        ("generate --prompt x --size 513x512", "--size 513x512", "512x512 is the nearest"),
        ("generate --prompt x --size 99999999x512", "--size 99999999x512", "from 8 to 16384"),
        ("generate --prompt x --batch-size 0", "--batch-size", "from 1 to 4096"),
        ("generate --prompt x --batch-size -1", "--batch-size", "from 1 to 4096"),
        ("generate --prompt x --batch-size lots", "--batch-size", "'lots'", "auto"),
        ("generate --prompt x --batch-size 99999999", "--batch-size", "from 1 to 4096"),
        ("generate --prompt x --negative y --template smoke", "--negative", "no binding 'negative'", "--bind"),
        ("generate --prompt x --set 6", "--set 6", "NODE.INPUT=VALUE"),
        ("generate --prompt x --set =1", "--set =1", "NODE.INPUT=VALUE"),
        ("generate --prompt x --set 999.text=1", "--set 999.text", "matches no node", "available"),
        ("generate --prompt x --set 6.txet=1", "--set 6.txet", "did you mean 'text'?"),
        ("generate --prompt x --set seed=1", "--set seed", "--seed"),
        ("generate --prompt x --set 3.steps=1.5", "--set steps", "whole number", "1.5"),
        ("generate --prompt x --set 3.cfg=abc", "--set cfg", "number", "'abc'"),
        ("generate --prompt x --bind seed=99.seed", "address '99.seed'", "3.seed"),
        ("generate --prompt x --outputs 99 --template smoke", "--outputs 99", "choose from 3 (SaveImage"),
        ("generate --prompt x --outputs=", "--outputs ''", "a name is empty"),
    ],
    "generate: dynamic prompts": [
        ("generate --prompt '{a|b}'", "--prompt", "'{a|b}'", "--dynamic", "--literal"),
        ("generate --prompt x --negative __bad__", "--negative", "'__bad__'", "--dynamic", "--literal"),
        ("generate --prompt 'x <lora:a:0.8'", "--prompt, column 3: '<lora:a:0.8' is not closed"),
        ("generate --prompt 'x <lora:a:high>'", "--prompt, column 3", "'high'"),
        ("generate --prompt 'x <hypernet:a:1>'", "hypernetworks"),
        ("generate --prompt '<lora:a:1>'", "the prompt is empty"),
        ("generate --prompt x --negative '<lora:a:1>'", "in the negative prompt", "--literal"),
        ("generate --prompts-file quote.txt", "quote.txt line 2, column 10", "not closed"),
        ("generate --prompts-file option.txt", "option.txt line 1, column 12, --stesp", "did you mean '--steps'"),
        ("generate --prompts-file midjourney.txt", "midjourney.txt line 1, column 7: --ar", "--literal"),
        ("generate --prompts-file blocks.txt", "blocks.txt line 1, column 1: 'positive:'", "--literal"),
        ("generate --prompts-file bad_seed.csv", "bad_seed.csv", "--csv FILE"),
        ("generate --prompts-file bad.jsonl --literal --dynamic", "--literal"),
        ("generate --prompts-file rich.rtf", "rich.rtf: this is rich text (RTF)", "plain text"),
        ("generate --prompts-file plain.png", "plain.png", "--from FILE"),
        ("generate --prompt-file parameters.txt", "parameters.txt", "--prompts-file FILE", "--literal"),
        ("generate --prompts-file parameters.txt", "parameters.txt line 2: Sampler", "'PLMS'"),
        ("generate --prompts-file dynamic.txt", "dynamic.txt line 2", "1 other text", "--dynamic", "--literal"),
        ("generate --prompts-file dynamic.txt --dynamic", "dynamic.txt line 3, column 4", "not closed"),
        ("generate --prompt '{a|b}' --dynamic --literal", "choose one", "--dynamic or --literal"),
        ("generate --prompt x --wildcards dir", "--wildcards", "--dynamic too"),
        ("generate --prompt x --combinatorial", "--combinatorial", "--dynamic too"),
        ("generate --prompt x --dynamic --combinatorial 0", "--combinatorial", "'0' is not from 1"),
        ("generate --prompt x --dynamic --combinatorial some", "--combinatorial", "'some' is not from 1"),
        ("generate --prompt x --dynamic --combinatorial --sweep negative=a,b", "--combinatorial", "--sweep negative"),
        ("generate --prompt x --dynamic --wildcards none", "--wildcards none", "not there"),
        ("generate --prompt x --dynamic --wildcards plain.txt", "--wildcards plain.txt", "not a directory"),
        ("generate --prompt x --dynamic --wildcards ''", "--wildcards", "empty"),
        ("generate --prompt __clour__ --dynamic --wildcards cards", "--prompt, column 1", "did you mean 'colour'?"),
        ("generate --prompt __clour__ --dynamic", "--prompt, column 1", "--wildcards DIR"),
        ("generate --prompt __round__ --dynamic --wildcards cards", "cards/trip.txt line 1, column 3", "in a circle"),
        ("generate --prompt 'a {b|c' --dynamic", "--prompt, column 3", "not closed"),
        (
            "generate --prompt '__n__ __n__ __n__' --dynamic --wildcards cards --combinatorial",
            "1000000000 combinations",
            "--combinatorial N",
        ),
    ],
    "watch": [
        ("watch --since yesterday", "--since yesterday", "id of an event"),
        ("watch --until-done now", "now"),
    ],
    "notify": [
        (f"notify add ftp//x/{SECRET}", "URL", "https://example.org/hook"),
        ("notify add https://x --url-env HOOK", "choose one", "--url-env"),
        ("notify add --url-env NOTHING_OF_THIS_NAME", "--url-env", "not set"),
        ("notify add https://x --on done,dine", "--on", "'dine'", "stuck"),
        ("notify add https://x --on ,", "--on", "at least one"),
        ("notify add https://x --runs 0", "--runs", "0 is not from 1"),
        ("notify add https://x --secret-env a-b", "--secret-env", "environment variable"),
        ("notify remove zz", "zz", "no receiver"),
        ("notify test", "nobody is notified"),
    ],
    "generate: the batch": [
        ("generate --prompt x --profile qualty", "--profile qualty", "did you mean 'quality'?"),
        ("generate --prompt x --name ''", "--name", "begins with a letter"),
        ("generate --prompt x --name a/b", "--name 'a/b'", "begins with a letter"),
        ("generate --prompt x --name knights", "--name knights", "another request", "burst status knights"),
        ("generate --prompt x --priority top", "--priority", "'top'", "'urgent'"),
        ("generate --prompt x --notify nowhere", "--notify", "https://example.org/hook"),
        ("generate --prompt x --notify ''", "--notify", "https://example.org/hook"),
        (f"generate --prompt x --notify ftp://x/{SECRET}", "--notify", "https://example.org/hook"),
        ("generate --prompt x --notify-secret KEY", "--notify-secret", "--notify too"),
        ("generate --prompt x --queue-only --wait", "choose one", "--queue-only", "--wait"),
        ("generate --prompt x --on-error never", "--on-error", "'never'"),
        ("generate --prompt x --layout round", "--layout", "'round'", "'gallery'"),
        ("generate --prompt x --stem a/b", "--stem", "holds a /"),
        ("generate --prompt x --stem ''", "--stem", "empty"),
        ("generate --prompt x --output plain.txt", "--output plain.txt", "name a directory"),
        ("generate --prompt x --template no-such", "no-such", "No such file", "txt2img-sd15"),
        ("generate --prompt x --template two_texts.json", "what 'prompt' sets", "--bind prompt=1.text", "2.text"),
        ("generate --prompt x --queue-only --template no_text.json", "no binding 'prompt'", "--bind prompt="),
        ("generate --prompt x --template editor.json", "editor.json", "the graph is empty"),
        ("generate --prompt x --template ui.json", "ui.json", "EmptyImage", "no server answers", "Export (API)"),
        ("generate --prompt x --template damaged.json", "damaged.json", 'a node has no "id"'),
        ("generate --prompt x --template plain.png", "plain.png", "no workflow of ComfyUI is in this file"),
        ("generate --prompt x --template plain.txt", "plain.txt", "line 1", "API format"),
        ("generate --prompt x -q -v", "choose one", "--quiet", "--verbose"),
    ],
    "init": [
        ("init --state none.json", "none.json", "no state here", "name the directory"),
        ("init --images", "--images", "name one, or leave it out"),
        ("init --files", "--files", "name one, or leave it out"),
        ("init --masks '{stem}_mask.png'", "--masks", "name one, or leave it out"),
        ("init --pattern '*.md'", "--pattern", "name one, or leave it out"),
        ("init --template no-such", "no-such", "No such file", "txt2img-sd15"),
        ("init --state not.json --template smoke", "not.json", "not JSON"),
        ("init none", "none", "not there"),
        ("init plain.txt", "plain.txt", "a file, not a directory"),
        ("init emptydir", "emptydir", "no file matches *.txt", "--pattern"),
        ("init ''", "DIR", "path is empty"),
        ("init prompts --pattern '*.md'", "no file matches *.md", "--pattern"),
        ("init prompts --pattern ''", "--pattern", "empty"),
        ("init prompts --masks '{stem}_mask.png'", "--masks", "--images"),
        ("init prompts --images --masks mask.png", "--masks 'mask.png'", "{stem}"),
        ("init prompts --images", "no binding 'image'", "--bind image=NODE.INPUT"),
        ("init prompts --files --images", "--files", "leave out --images"),
        ("init prompts --files --masks '{stem}_mask.png'", "--masks", "--images"),
        ("init prompts --files", "no file matches", "--pattern"),
        ("init prompts --files --pattern '*.txt'", "neither an image, a video nor audio", "--pattern"),
        ("init clips --files", "no binding 'video'", "--bind video=NODE.INPUT"),
        ("init prompts --template two_texts.json", "not certain what 'prompt' sets", "--bind prompt=1.text", "2.text"),
        ("init prompts --template no_text.json", "no binding 'prompt'", "--bind prompt=NODE.INPUT"),
        ("init prompts --template no-such", "no-such", "No such file", "txt2img-sd15"),
        ("init prompts --template editor.json", "editor.json", "the graph is empty"),
        ("init prompts --template ui.json", "ui.json", "EmptyImage", "no server answers", "Export (API)"),
        ("init prompts --template damaged.json", "damaged.json", 'a node has no "id"'),
        ("init prompts --template plain.png", "plain.png", "no workflow of ComfyUI is in this file"),
        ("init prompts --bind prompt", "--bind prompt", "NAME=ADDRESS"),
        ("init prompts --bind promt=1.text", "--bind promt", "did you mean 'prompt'?"),
        ("init prompts --rescn", "--rescn", "--rescan"),
        ("init prompts --rescan=1", "--rescan", "does not take a value"),
        ("init prompts --bind prompt=6", "address '6'", "NODE.INPUT", "available"),
        ("init prompts --bind prompt=99.text", "address '99.text'", "available"),
        ("init prompts --outputs ,", "--outputs ','", "a name is empty"),
        (
            "init prompts --template smoke --outputs title=None",
            "--outputs title=None",
            "no node has this",
            "choose from 3 (SaveImage",
        ),
        (
            "init prompts --template smoke --outputs 1",
            "--outputs 1",
            "saves and shows nothing",
            "choose from 3 (SaveImage",
        ),
    ],
    "items and batches by name": [
        ("update", "name what to change", "--template"),
        ("update nothere --template smoke", "'nothere'", "no item and no batch"),
        ("update knigts --template smoke", "'knigts'", "knights"),
        ("update --template no-such", "no-such", "No such file"),
        ("update --made-with no-such --template smoke", "--made-with no-such", "there are: smoke"),
        ("update --bind promt=6.text", "--bind promt", "did you mean 'prompt'?"),
        ("update --bind prompt=99.text", "address '99.text'", "available"),
        ("update --output plain.txt", "--output plain.txt", "name a directory"),
        ("update --outputs 99", "--outputs 99", "no node has this id", "choose from 3 (SaveImage"),
        ("retry nothere", "no item and no batch 'nothere'", "burst status"),
        ("retry knigts", "'knigts'", "knights"),
        ("retry prompts/EP01/aa.txt", "no item and no batch 'prompts/EP01/aa.txt'", "prompts/EP01/a.txt"),
        ("cancel", "name the items or batches", "--all"),
        ("cancel nothere", "'nothere'", "no item and no batch", "burst batches list"),
        ("cancel knigts", "'knigts'", "knights"),
        ("cancel prompts/EP01/aa.txt", "'prompts/EP01/aa.txt'", "prompts/EP01/a.txt"),
        ("cancel --all knights", "name the items or batches", "--all"),
        ("cancel --all --all-queued", "name the items or batches", "--all-queued"),
        ("cancel --all-queued --failed", "--failed", "leave out --all-queued"),
        ("cancel --failed=1", "--failed", "does not take a value"),
        ("forget", "name the items or batches", "--gone"),
        ("forget nothere", "no item and no batch 'nothere'", "burst status"),
        ("forget knigts --remove-files", "'knigts'", "knights"),
        ("forget knights --remove-files --keep-files", "choose one", "--keep-files", "--remove-files"),
        ("forget knights --output plain.txt", "--output plain.txt", "name a directory"),
        ("forget knights --remove-fils", "--remove-fils", "--remove-files"),
        ("priority", "end with a priority", "urgent"),
        ("priority high", "name the items or batches"),
        ("priority knights", "urgent", "'knights' is not one"),
        ("priority knights top", "'top'", "urgent"),
        ("priority knigts high", "'knigts'", "knights"),
        ("priority nothere high", "no item and no batch 'nothere'"),
        ("edit", "Missing argument", "ITEM|BATCH"),
        ("edit knights", "name what to change", "--prompt", "--negative", "--lora", "--set"),
        ("edit knights --lora", "--lora"),
        ("edit knights --lora :1", "--lora", "NAME:STRENGTH"),
        ("edit knights --lora x:1000", "--lora", "lora_strength"),
        ("edit knights --lora x --set lora=y", "choose one", "--lora", "--set lora"),
        ("edit knights --lora '' --set lora=y", "choose one", "--lora", "--set lora"),
        ("edit knights --set lora=", "--set lora=", "burst edit", "--lora"),
        ("edit nothere --prompt x", "no item and no batch 'nothere'"),
        ("edit knigts --prompt x", "'knigts'", "knights"),
        ("edit knights --prompt ''", "--prompt", "the text is empty"),
        ("edit knights --prompt 'a {b|c}'", "--prompt", "{b|c}", "--literal"),
        ("edit knights --negative __x__", "--negative", "__x__", "--literal"),
        ("edit knights --prompt 'a <lora:x:1>'", "--prompt", "--lora NAME:STRENGTH", "--literal"),
        ("edit knights --set steps", "--set steps", "3.steps=20"),
        ("edit knights --set steps=1 --set steps=2", "--set steps", "twice"),
        ("edit knights --set stps=1", "--set stps", "did you mean 'steps'?"),
        ("edit knights --set steps=many", "--set steps", "'many'", "whole number"),
        ("edit knights --set prompt=x", "--set prompt", "--prompt"),
        ("edit knights --set 99.text=x", "--set 99.text", "99"),
        ("edit knights --rescn", "--rescn", "--rescan"),
        ("status nothere", "no batch 'nothere'", "knights"),
        ("status knigts", "did you mean 'knights'?"),
        ("status --check knigts", "did you mean 'knights'?"),
        ("status knights extra", "extra"),
        ("batches show knigts", "did you mean 'knights'?"),
        ("batches list extra", "extra"),
        ("report", "Missing argument 'BATCH'"),
        ("report knigts", "did you mean 'knights'?"),
        ("report knights --html dir", "dir", "a directory", "--html"),
        ("report knights --html nowhere/x.html", "nowhere/x.html", "--html"),
        ("report knights --html re_render_state.json", "re_render_state.json", "not a page", "--html"),
        ("report knights --html prompts/EP01/a.txt", "a.txt", "not a page", "--html"),
        ("batches clean", "--older-than"),
        ("batches clean --older-than", "--older-than", "requires an argument"),
        ("batches clean --older-than week", "--older-than", "'week'", "30d"),
        ("batches clean --older-than -1d", "--older-than", "'-1d'", "30d"),
        ("batches clean --older-than 7 --yes", "--older-than", "'7'", "30d"),
        ("batches clean --older-than '' --yes", "--older-than", "30d"),
        ("batches clean --older-than nand --yes", "--older-than", "'nand'", "30d"),
        ("batches clean --older-than 99999999999d --yes", "--older-than", "30d"),
        ("batches clean --older-than 0h", "no terminal", "--yes"),
        ("reset", "no terminal", "--yes"),
        ("reset extra", "extra"),
        ("verify extra", "extra"),
        ("generate --from-batch nobody --template smoke", "no batch 'nobody'"),
        ("generate --from-batch . --prompts-file plain.txt", "choose one source of prompts"),
        ("generate --prompt x --pick all", "--pick: give --from-batch BATCH too"),
        ("stage", "Missing argument", "BATCH"),
        ("stage nobody", "Missing argument", "TEMPLATE"),
        ("stage nobody smoke", "smoke: it takes no image, video or audio", "--bind image=NODE.INPUT"),
        ("stage . nowhere.json", "nowhere.json"),
        ("trash nobody", "no item and no batch 'nobody'"),
        ("trash plain.txt", "plain.txt is not an output of any item"),
        ("trash --restore nobody", "no item and no batch 'nobody'"),
        ("trash --restore knights", "nothing of 'knights' is in the trash", "`burst trash`"),
        ("trash --restore --empty", "choose one", "--restore", "--empty"),
        ("trash knights --empty", "--empty takes no names", "--older-than"),
        ("trash knights --yes", "--yes are for --empty"),
        ("trash --older-than 3d", "--older-than", "are for --empty"),
        ("trash --empty --older-than soon", "--older-than", "'soon' is not a duration", "30d"),
        ("trash --empty", "no terminal", "--yes"),
        ("trash knights --output plain.txt", "--output plain.txt", "name a directory"),
        ("trash knights --restor", "--restor", "--restore"),
        ("star", "Missing argument", "ITEM|IMAGE|BATCH"),
        ("star nobody", "no item and no batch 'nobody'"),
        ("star plain.txt", "plain.txt is not an output of any item"),
        ("tag sea", "Missing argument", "ITEM|IMAGE|BATCH"),
        ("tag sea nobody", "no item and no batch 'nobody'"),
        ("tag '' x", "''", "1 to 64 characters"),
        ("verify --output plain.txt", "--output plain.txt", "name a directory"),
        ("verify --repiar", "--repiar", "--repair"),
        ("log extra", "extra"),
        ("log --since yesterday", "--since yesterday", "1d"),
        ("log --since ''", "--since", "1d"),
        ("log --since -1h", "--since -1h", "1d"),
        ("log --since 5", "--since 5", "1d"),
        ("log --since 2026-13-45", "--since 2026-13-45", "2026-11-30"),
        ("log --since 99999999999999d", "--since 99999999999999d", "30d"),
        ("log --since 900000d", "--since 900000d"),
        ("history extra", "extra"),
        ("history --frobnicate", "--frobnicate"),
        ("history --since yesterday", "--since yesterday", "1d"),
        ("history --until ''", "--until", "1d"),
        ("history --until 5", "--until 5", "2026-11-30"),
        ("history --since 2026-11-30 --until 2026-11-29", "--until 2026-11-29", "not after", "--since 2026-11-30"),
        ("history --since 1h --until 2h", "not after"),
        ("history --batch nobody", "no batch 'nobody'"),
        ("history --batch ''", "no batch ''"),
        ("history --server", "--server", "requires an argument"),
        ("history --server ''", "--server", "empty"),
        ("history --host ''", "--host", "empty"),
    ],
    "states": [
        *(
            (f"{command} --state {state}", state, *words)
            for command in (
                "run",
                "status",
                "log",
                "history",
                "query",
                "export x --to folder",
                "retry",
                "cancel --all",
                "verify",
                "reset --yes",
                "report x",
            )
            for state, words in {
                "none.json": ("no state here", "burst init"),
                "dir": ("a directory, not a state file",),
                "not.json": ("not JSON at line 1, column 1", "Nothing was changed"),
                "empty.json": ("empty", "Nothing was changed"),
            }.items()
        ),
        ("generate --prompt x --state dir", "dir", "a directory, not a state file"),
        ("generate --prompt x --template smoke --dry-run --state dir", "dir", "a directory, not a state file"),
        ("init prompts --state dir", "dir", "a directory, not a state file"),
        ("init prompts --state not.json", "not.json", "not JSON"),
        ("init prompts --state newer.json", "newer.burst/settings.toml", "version 99", "knows version"),
        ("update --template smoke --state none.json", "none.json", "no state here"),
        ("generate --prompt x --template smoke --queue-only --state empty.json", "empty.json", "empty"),
        ("generate --prompt x --template smoke --queue-only --state list.json", "list.json", "found a list"),
        ("run --state list.json", "list.json", "found a list"),
        ("run --state newer.json", "newer.burst/settings.toml", "version 99", "knows version"),
        ("run --state wrong_type.json", "wrong_type.burst/settings.toml", "template", "a name or a path"),
        ("run --state no_toml.json", "no_toml.burst/settings.toml", "line 1"),
        ("run --state ''", "--state", "path is empty"),
        ("run --state plain.txt/x.json", "plain.txt/x.json", "no state here"),
    ],
    "workflows and nodes": [
        ("template check none.json", "none.json", "No such file", "txt2img-sd15"),
        ("template check dir", "dir", "Is a directory"),
        ("template check editor.json", "editor.json", "the graph is empty"),
        ("template check ui.json", "ui.json", "EmptyImage", "no server answers", "Export (API)"),
        ("template check damaged.json", "damaged.json", 'a node has no "id"'),
        ("template check plain.png", "plain.png", "no workflow of ComfyUI is in this file"),
        ("template check not.json", "not.json", "not JSON at line 1"),
        ("template check list.json", "list.json", "expected an object of nodes"),
        ("template check empty.json", "empty.json", "not JSON"),
        ("template check re_render_state.json", "re_render_state.json", "class_type", "API format"),
        ("template check smoke --bind prompt", "--bind prompt", "NAME=ADDRESS"),
        ("template check smoke --bind promt=1.x", "--bind promt", "did you mean 'prompt'?"),
        ("template show no-such", "no-such", "No such file"),
        ("template export", "NAME|FILE", "Missing argument"),
        ("template export smoke", "--output", "Missing option"),
        ("template export smoke -o", "-o", "requires an argument"),
        ("template export smoke -o ''", "the path is empty"),
        ("template export smoke -o dir", "dir already exists", "another name"),
        ("template export smoke -o plain.txt", "plain.txt already exists", "--overwrite"),
        ("template export smoke -o none/api.json", "none/api.json", "cannot be written"),
        ("template export smoke -o dir --overwrite", "dir already exists"),
        ("template export ui.json -o api.json", "ui.json", "no server answers"),
        ("template export no-such -o api.json", "no-such", "No such file"),
        ("template show ui.json --server nonsense://x", "--server", "must be http:// or https://"),
        ("template show editor.json", "editor.json", "the graph is empty"),
        ("template show ui.json", "ui.json", "EmptyImage", "no server answers", "Export (API)"),
        ("template show damaged.json", "damaged.json", 'a node has no "id"'),
        ("template show plain.png", "plain.png", "no workflow of ComfyUI is in this file"),
        ("template list extra", "extra"),
        ("node install", "Missing option '--comfyui'"),
        ("node install --comfyui none", "none", "custom_nodes"),
        ("node install --comfyui plain.txt", "plain.txt", "custom_nodes"),
        ("node install --comfyui dir", "dir", "custom_nodes"),
        ("node install --comfyui ''", "--comfyui", "path is empty"),
        ("node status --comfyui dir", "dir", "custom_nodes"),
        ("node uninstall --comfyui none", "none", "custom_nodes"),
    ],
    "servers that burst starts": [
        ("serve --port 99999", "--port", "99999"),
        ("serve --port -1", "--port", "-1"),
        ("serve --port http", "--port", "'http'"),
        ("serve --host 192.0.2.1 --port 0", "192.0.2.1", "--host"),
        ("serve --server htp://x --port 0", "--server", "must be http:// or https://"),
        ("serve --token-env NOT_SET --port 0", "--token-env NOT_SET", "not set"),
        ("serve --api-keys nowhere --port 0", "nowhere", "openssl rand -hex 32"),
        ("serve --allow-notify example.org --port 0", "--allow-notify", "https://example.org"),
        ("serve --notify-secret KEY --port 0", "--notify-secret", "--allow-notify"),
        ("serve extra", "extra"),
        ("sandbox --load-seconds -1", "--load-seconds", "-1.0"),
        ("sandbox --port 99999", "--port", "99999"),
        ("sandbox --port x", "--port", "'x'"),
        ("sandbox --host 192.0.2.1 --port 0", "192.0.2.1", "--host"),
        ("sandbox --failure-rate 2 --port 0", "'--failure-rate'", "from 0 to 1"),
        ("sandbox --failure-rate nan --port 0", "'--failure-rate'", "from 0 to 1"),
        ("sandbox --fail-next -1 --port 0", "'--fail-next'", "-1"),
        ("sandbox --fail-next x --port 0", "--fail-next", "'x'"),
        ("sandbox --seconds-per-prompt -1 --port 0", "'--seconds-per-prompt'", "-1.0"),
        ("sandbox --seconds-per-prompt inf --port 0", "'--seconds-per-prompt'", "inf"),
        ("sandbox --seconds-next 7,x --port 0", "'--seconds-next'", "'7,x' does not fit; write seconds like 7,1,1"),
        ("sandbox --seconds-next 7,-1 --port 0", "'--seconds-next'", "write seconds like 7,1,1"),
        ("sandbox --seconds-next 7,inf --port 0", "'--seconds-next'", "write seconds like 7,1,1"),
        ("sandbox --comfyui-version 0.3.65 --port 0", "'--comfyui-version'", "write one of 0.3.64, 0.33.0"),
        ("sandbox --cuda-error-after -1 --port 0", "'--cuda-error-after'", "-1"),
        ("sandbox --history-limit 0 --port 0", "'--history-limit'", "0"),
        ("sandbox --directory plain.txt --port 0", "plain.txt", "a file stands where a directory should be"),
        ("sandbox extra", "extra"),
        ("demo extra", "extra"),
        ("demo --directory prompts", "prompts", "not empty"),
        ("demo --directory plain.txt", "plain.txt", "a file stands where a directory should be"),
        ("doctor extra", "extra"),
        ("doctor --frobnicate", "--frobnicate"),
    ],
}
"""Heading -> a command line, and the words that its one message must hold. All exit with 2."""

USAGES = [(row[0], row[1:]) for rows in ROWS.values() for row in rows]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state with items and a batch, and files of every wrong kind. Its server refuses at once."""
    home = tmp_path_factory.mktemp("project")
    for name, text in {
        "prompts/EP01/a.txt": "a lighthouse",
        "prompts/EP01/b.txt": "a harbour",
        "plain.txt": "hello\n",
        "empty.txt": "",
        "dir/x.txt": "x",
        "not.json": "hello",
        "empty.json": "",
        "list.json": "[]",
        "editor.json": '{"nodes": [], "links": [], "version": 0.4}',
        "clips/a.mp4": "",
        "two_texts.json": json.dumps(TWO_TEXTS),
        "no_text.json": json.dumps({name: node for name, node in TWO_TEXTS.items() if name in ("4", "5")}),
        "ui.json": '{"nodes": [{"id": 1, "type": "EmptyImage"}], "links": [], "version": 0.4}',
        "damaged.json": '{"nodes": [{"type": "EmptyImage"}], "links": [], "version": 0.4}',
        "dynamic.txt": "fine\na {b|c}\n d {e|f\n",
        "quote.txt": '--prompt "fine"\n--prompt "a fox\n',
        "option.txt": "--prompt x --stesp 7\n",
        "midjourney.txt": "a fox --ar 16:9\n",
        "blocks.txt": "positive: a fox\nnegative: blurry\n---\n",
        "rich.rtf": "{\\rtf1 a fox}",
        "parameters.txt": "a fox\nSteps: 20, Sampler: PLMS, Seed: 7\n",
        "cards/colour.txt": "red\nblue\n",
        "cards/round.txt": "__trip__\n",
        "cards/trip.txt": "a __round__\n",
        "cards/n.txt": "\n".join(map(str, range(1000))),
        "no_prompt.csv": "seed\n1\n",
        "bad_seed.csv": "prompt,seed\nx,abc\n",
        "bad_column.csv": "prompt,stesp\nx,1\n",
        "good.csv": "prompt\nx\n",
        "twice.csv": "id,prompt\nx,a\nx,b\n",
        "no_heading.csv": "a cat,20\na dog,30\n",
        "decimal.csv": 'sep=;\nprompt;cfg\n"a";7,5\nb;7,5,1\n',
        "no_image.csv": "prompt,image\nx,cat.png\n",
        "bad_row.csv": "prompt,count\nx,0\n",
        "no_template.csv": "prompt,template\nx,smok\n",
        "bad.jsonl": '"one"\n{"prompt": "two"\n',
        "bad_key.jsonl": '"one"\n{"prmpt": "two"}\n',
        **{f"{name}.json": '{"x": {"status": "pending"}}' for name in ("newer", "wrong_type", "no_toml")},
        "newer.burst/settings.toml": "version = 99\n",
        "wrong_type.burst/settings.toml": "version = 2\ntemplate = 7\n",
        "no_toml.burst/settings.toml": "version = = 2\n",
    }.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (home / "plain.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(30))
    (home / "emptydir").mkdir()
    (home / "password.xlsx").write_bytes(PASSWORD)
    (home / "good.xlsx").write_bytes(workbook([["prompt"], ["x"]]))
    (home / "formula.xlsx").write_bytes(workbook([["prompt", "steps"], ["x", ("=10+10", "")]]))
    with pytest.MonkeyPatch.context() as patch:
        _enter(home, patch)
        for line in (
            "init prompts --template smoke",
            "generate --prompt x --count 2 --name knights --queue-only",
            "init prompts --template txt2img-sd15",  # the workflow of the rows that name none
        ):
            result = burst(line)
            assert result.exit_code == 0, result.output
    return home


@pytest.fixture(scope="module")
def known(home: Path) -> Files:
    """The files as they are, brought up to date after each test."""
    return files_of(home)


@pytest.fixture
def project(home: Path, known: Files, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    _enter(home, monkeypatch)
    yield home
    before, after = dict(known), files_of(home)
    known.clear()
    known.update(after)
    assert {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} == set()


def _enter(home: Path, patch: pytest.MonkeyPatch) -> None:
    patch.chdir(home)
    patch.setenv("COMFYUI_URL", NOBODY)
    for variable in ("BURST_STATE", "COMFYUI_HEADERS", "BURST_TRACEBACK", "NOT_SET"):
        patch.delenv(variable, raising=False)


def files_of(home: Path) -> Files:
    """Inode, size and times of every file: whatever is written changes one. A lock that was taken has said nothing."""
    found = {}
    for folder, _, names in os.walk(home):
        for path in (os.path.join(folder, name) for name in names if not name.endswith(".lock")):
            at = os.stat(path)
            found[path] = (at.st_ino, at.st_size, at.st_mtime_ns, at.st_ctime_ns)
    return found


def burst(line: str) -> Result:
    return CliRunner().invoke(cli, shlex.split(line), prog_name="burst")


def messages(result: Result) -> list[str]:
    """The lines on stderr, without click's on how the command is used."""
    return [line for line in result.stderr.splitlines() if line and not line.startswith(("Usage: ", "Try '"))]


def with_json(line: str) -> str:
    """The same command line with `--json`, before an option that waits for its value."""
    words = line.split(" ", 2)
    at = 2 if words[0] in ("batches", "template", "node", "state", "servers", "fleet", "notify", "skill") else 1
    return " ".join([*words[:at], "--json", *words[at:]])


def test_there_are_at_least_112_each_once() -> None:
    lines = [line for line, _ in USAGES]
    assert len(lines) == len(set(lines)) >= 112


def test_every_command_has_a_row() -> None:
    used = {line.split()[0] for line, _ in USAGES}
    with cli.make_context("burst", ["--frobnicate"], ignore_unknown_options=True, allow_extra_args=True) as context:
        assert set(cli.list_commands(context)) <= used


@pytest.mark.parametrize(("line", "words"), USAGES, ids=[line for line, _ in USAGES])
def test_a_wrong_usage_is_one_message_and_with_json_an_object_too(
    project: Path, line: str, words: tuple[str, ...]
) -> None:
    result = burst(line)
    assert result.exit_code == 2, (result.output, result.exception)
    (message,) = messages(result)
    assert [word for word in words if word not in message] == [], message
    assert result.stdout == ""
    assert SECRET not in result.output
    assert "Traceback" not in result.output
    result = burst(with_json(line))
    document = json.loads(result.stdout)
    assert document["schema"] == "burst.error/1"
    assert document["exit_code"] == result.exit_code == 2
    assert set(document["error"]) == {"kind", "message"}
    assert [word for word in words if word not in document["error"]["message"]] == []
    assert len(messages(result)) == 1
    assert SECRET not in result.output


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("COMFYUI_URL", "htp://x", ["must be http:// or https://"]),
        ("COMFYUI_HEADERS", SECRET, ["'Name: value'"]),
        ("COMFYUI_HEADERS", f"X-One: 1\nBad Name: {SECRET}", ["letters, digits and dashes"]),
    ],
)
def test_a_wrong_variable_is_named(
    project: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: list[str]
) -> None:
    monkeypatch.setenv(variable, value)
    result = burst("run --dry-run")
    (message,) = messages(result)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{variable}: " in message
    assert all(word in message for word in words)
    assert SECRET not in message


def test_a_process_whose_log_file_cannot_be_opened_ends_without_a_traceback(project: Path) -> None:
    """What logging closes at the end of the process is seen in none that goes on."""
    command = [sys.executable, "-m", "burst", "run", "--log-file", "dir"]
    ended = subprocess.run(command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1, ended.stderr

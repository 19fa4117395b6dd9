"""The house rules that a machine can check: which way imports point, what starts fast, what is public."""

from __future__ import annotations

import ast
import configparser
import functools
import importlib
from collections.abc import Callable, Iterable, Iterator
from graphlib import TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

import orchestrator
from orchestrator.batches.standing import BatchStanding
from orchestrator.burst_endings import TEXTS

ROOT = Path(__file__).parents[2]
FILES_OF_A_STATE = {
    ".burst",
    *("journal.jsonl", "batches.jsonl", "bursts.jsonl", "recipes.jsonl", "notices.jsonl"),
    *("run.lock", "write.lock", "adding.lock", "holder.json", "settings.toml"),
}
LEAVES = {"orchestrator.errors", "orchestrator.clock", "orchestrator.wording"}
MAY_IMPORT = {
    "state": {"state"},
    "templates": {"templates"},
    "orchestrator": {"orchestrator", "state", "templates"},
    "burst": {"orchestrator", "state", "templates"},
}


def modules() -> list[Path]:
    found = [ROOT / "burst.py"]
    for package in ("orchestrator", "state", "templates"):
        found += sorted((ROOT / package).rglob("*.py"))
    return found


Found = Iterable[tuple[int, str]]
"""Lines, and what is there."""
Breaches = dict[Callable[[Path], Iterable[object]], dict[str, list[object]]]
"""What each rule finds, by module of ours."""


@pytest.fixture(scope="module")
def breaches() -> Breaches:
    """Each module is parsed once, for all rules."""
    found: Breaches = {rule: {} for rule in RULES}
    for path in modules():
        for rule in RULES:
            if wrong := list(rule(path)):
                found[rule][str(path.relative_to(ROOT))] = wrong
    return found


@functools.lru_cache(maxsize=1)
def nodes_of(path: Path) -> list[ast.AST]:
    return list(walk(ast.parse(path.read_text())))


def walk(tree: ast.AST) -> Iterator[ast.AST]:
    """As `ast.walk`, in half of its time: whether a name is read or set is left out, and no rule asks for it."""
    found = [tree]
    for node in found:
        yield node
        for name in node._fields:
            inner = getattr(node, name, None)
            for one in inner if isinstance(inner, list) else (inner,):
                if isinstance(one, ast.AST) and not isinstance(one, ast.expr_context):
                    found.append(one)


@functools.cache
def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def imports_of_rooms_above(path: Path) -> set[str]:
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    return {
        name
        for name in imported(path)
        if name.split(".")[0] in MAY_IMPORT
        if name.split(".")[0] not in MAY_IMPORT[room] and not any(name.startswith(leaf) for leaf in LEAVES)
        if name != "orchestrator"
    }


def test_imports_point_one_way(breaches: Breaches) -> None:
    assert breaches[imports_of_rooms_above] == {}


def test_no_imports_make_a_circle(breaches: Breaches) -> None:
    """Neither at run time, nor in a function, nor for the type checker alone."""
    needed = {dotted(ROOT / name): found for name, found in breaches[needed_modules].items()}
    TopologicalSorter(needed).prepare()


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def ours() -> set[str]:
    return set(map(dotted, modules()))


def needed_modules(path: Path) -> set[str]:
    """`from package import module` needs the module; its package is imported before either of them."""
    package = dotted(path).split(".")[: None if path.name == "__init__.py" else -1]
    needed: set[str] = set()
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            needed |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            for inner in (f"{source}.{alias.name}" for alias in node.names):
                needed.add(inner if inner in ours() else source)
    return needed & ours() - {dotted(path)}


def test_the_wheel_takes_along_what_is_no_module() -> None:
    """Pages, their style, workflows: everything in a package that is not Python, and each pattern is for something."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    patterns = {
        (ROOT.joinpath(*package.split(".")), pattern.strip())
        for package, listed in setup["options.package_data"].items()
        for pattern in listed.split(",")
    }
    taken = {(home, pattern): {path for path in home.glob(pattern) if path.is_file()} for home, pattern in patterns}
    assert all(taken.values())
    folders = [ROOT / name for name in ("orchestrator", "state", "templates")]
    there = {
        path for folder in folders for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    assert {path for path in there if path.suffix != ".py"} == set().union(*taken.values())


def click_imports(path: Path) -> set[str]:
    """Where only the command line may have them."""
    found = {name for name in imported(path) if name.split(".")[0] == "click"}
    return set() if path.name == "burst.py" or path.parent.name == "commands" else found


def test_only_the_command_line_knows_click(breaches: Breaches) -> None:
    assert breaches[click_imports] == {}


def clock_imports(path: Path) -> set[str]:
    """Where only one module may have them."""
    allowed = path.name == "clock.py" or "sandbox" in path.parts or path.name == "run_lock.py"
    return set() if allowed else imported(path) & {"time"}


def test_one_module_knows_the_clock(breaches: Breaches) -> None:
    assert breaches[clock_imports] == {}


def reaching_into_the_state(path: Path) -> list[str]:
    """Where a module names the files of a state: what only `state/` may do."""
    found = [name for name in imported(path) if name == "state.json" or name.startswith("state.json.")]
    for node in nodes_of(path):
        if (isinstance(node, ast.BinOp) and ast.unparse(node.left).endswith("checkpoint_directory")) or (
            isinstance(node, ast.Attribute) and node.attr == "folder" and ast.unparse(node.value).endswith("store")
        ):
            found.append(ast.unparse(node))
        elif isinstance(node, ast.Constant) and node.value in FILES_OF_A_STATE:
            found.append(repr(node.value))
    return found


def test_only_the_state_knows_its_files(breaches: Breaches) -> None:
    found = breaches[reaching_into_the_state]
    assert {name: wrong for name, wrong in found.items() if not name.startswith("state/")} == {}


@pytest.mark.parametrize(
    "line",
    [
        "from state.json.store import JsonStore",
        "from state.json import run_lock",
        "def late():\n    import state.json.journal_lines",
        'said = store.folder / "serve.log"',
        "folder = self._store.folder",
        'parts.checkpoint_directory / "thumbnails"',
        'folder = state_file.with_suffix(".burst")',
        'settings = folder / "settings.toml"',
    ],
)
def test_a_module_that_reaches_into_the_state_is_found(tmp_path: Path, line: str) -> None:
    module = tmp_path / "module.py"
    module.write_text(line)
    assert reaching_into_the_state(module)


def joins_in(path: Path) -> Found:
    """Outside of `outputs/placement.py`, and what it is made of. ComfyUI's own directories are another matter."""
    return () if path.parts[-2] in ("outputs", "sandbox", "comfyui_node") else joins(nodes_of(path))


def test_one_door_leads_from_an_output_directory_to_a_file(breaches: Breaches) -> None:
    assert breaches[joins_in] == {}, "ask the Placement for the path"


@pytest.mark.parametrize(
    "line",
    [
        "settings.output_dir / name",
        "self._output_dir / record.directory / NAME",
        "placement.root_of(item) / output.path",
        "placement.default.resolve() / name",
        "state.settings.output_dir.joinpath(name)",
        "os.path.join(output_dir, name)",
        "Path(str(output_dir), name)",
        "Path(f'{settings.output_dir}/{name}')",
        "str(output_dir) + '/' + name",
        "for root in placement.roots(): print(root / name)",
        "from orchestrator.outputs.names import inside",
    ],
)
def test_what_joins_an_output_directory_and_a_path_is_seen(line: str) -> None:
    assert list(joins(ast.walk(ast.parse(line))))


@pytest.mark.parametrize("line", ["output_dir.resolve()", "str(settings.output_dir)", "f'{output_dir} is full'"])
def test_what_only_names_an_output_directory_is_no_join(line: str) -> None:
    assert not list(joins(ast.walk(ast.parse(line))))


ROOTS = {"output_dir", "_output_dir", "root", "root_of", "root_of_batch"}


def joins(nodes: Iterable[ast.AST]) -> Found:
    """Where an output directory and a path are put together, by line."""
    for node in nodes:
        match node:
            case ast.BinOp(left=left, op=ast.Div() | ast.Add()) if is_root(left):
                yield node.lineno, ast.unparse(node)
            case ast.Call(func=ast.Attribute(value=value, attr="joinpath")) if is_root(value):
                yield node.lineno, ast.unparse(node)
            case ast.Call(func=called, args=[first, _, *_]) if is_root(first):
                if ast.unparse(called) in ("Path", "os.path.join"):
                    yield node.lineno, ast.unparse(node)
            case ast.JoinedStr(values=values):
                for held, following in pairwise(values):
                    if isinstance(held, ast.FormattedValue) and is_root(held.value) and starts_with_slash(following):
                        yield node.lineno, ast.unparse(node)
            case ast.ImportFrom(module="orchestrator.outputs.names", names=names):
                if {alias.name for alias in names} & {"inside", "checked_folder"}:
                    yield node.lineno, ast.unparse(node)


def is_root(node: ast.AST) -> bool:
    """Whether this is an output directory, whatever was called on it or with it."""
    match node:
        case ast.Name(id=name):
            return name in ROOTS
        case ast.Attribute(value=value, attr=attr):
            return attr in ROOTS or (attr == "default" and ast.unparse(value).endswith("placement"))
        case ast.Call(func=ast.Attribute(value=value, attr=attr)):
            return attr in ROOTS or is_root(value)
        case ast.Call(func=ast.Name(id="str" | "Path"), args=[inner]):
            return is_root(inner)
        case ast.BinOp(left=left):
            return is_root(left)
    return False


def starts_with_slash(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and str(node.value).startswith("/")


COUNTS = {"remaining", "pending", "submitted", "completed", "failed", "cancelled"}
STANDING_WORDS = {word for row in BatchStanding for word in row.value if word is not None}
TABLES = {"standing.py", "burst_endings.py"}


def wording_in(path: Path) -> Found:
    elsewhere = path.name in TABLES or path.parts[-2] in ("sandbox", "comfyui_node")
    return () if elsewhere else wording(nodes_of(path))


def test_one_table_each_says_how_a_batch_stands_and_how_a_burst_ended(breaches: Breaches) -> None:
    assert breaches[wording_in] == {}, "take the words from batches/standing.py or burst_endings.py"


@pytest.mark.parametrize(
    "lines",
    [
        'def how(counts):\n    if counts.remaining:\n        return "active"\n    return "over"',
        'def how(counts):\n    return "cancelled" if counts.cancelled else "ended"',
        'def how(self):\n    return "queued" if self.counts[Status.PENDING] == self.total else ""',
        'WORDS = {"deadline": "out of time", "stopped": "stopped", "done": ""}',
        'match report.ended:\n    case "deadline":\n        print("out of time")',
        'print(f"the last burst ({record.ended})")',
        'print("stopped at the time limit; go on with burst run")',
    ],
)
def test_a_module_that_finds_its_own_words_is_found(lines: str) -> None:
    assert list(wording(ast.walk(ast.parse(lines))))


@pytest.mark.parametrize(
    "lines",
    [
        'if record.ended == "killed":\n    kills += 1',
        "def how(counts):\n    return standing_of(counts).text",
        'def line(counts):\n    return f"{counts.failed} failed"',
        'facts = {"ended": "killed", "done": 3}',
    ],
)
def test_what_only_uses_the_tables_finds_no_words_of_its_own(lines: str) -> None:
    assert not list(wording(ast.walk(ast.parse(lines))))


def wording(nodes: Iterable[ast.AST]) -> Found:
    """Where a module decides itself how a batch stands or how a burst ended, or says so in its own words, by line."""
    nodes = list(nodes)
    has_word = any(isinstance(node, ast.Constant) and node.value in STANDING_WORDS for node in nodes)
    for node in nodes:
        match node:
            case ast.FunctionDef() if has_word and any(map(is_count, walk(node))):
                yield from ((one.lineno, ast.unparse(one)) for one in walk(node) if returns_a_word(one))
            case ast.Dict(keys=keys) if sum(isinstance(key, ast.Constant) and key.value in TEXTS for key in keys) > 1:
                if all(isinstance(value, ast.Constant) and isinstance(value.value, str) for value in node.values):
                    yield node.lineno, ast.unparse(node)
            case ast.Match(subject=ast.Attribute(attr="ended")) | ast.FormattedValue(value=ast.Attribute(attr="ended")):
                yield node.lineno, ast.unparse(node)
            case ast.Constant(value=str(said)) if any(text in said for text in TEXTS.values() if " " in text):
                yield node.lineno, repr(said)


def is_count(node: ast.AST) -> bool:
    """Whether this is a number of items in one status."""
    match node:
        case ast.Attribute(attr=attr):
            return attr in COUNTS
        case ast.Subscript(value=value):
            return ast.unparse(value).endswith("counts")
    return False


def returns_a_word(node: ast.AST) -> bool:
    """Whether it returns one of the words for a batch itself, not in a sentence."""
    chosen = [node.value] if isinstance(node, ast.Return) and node.value is not None else []
    while chosen:
        match chosen.pop():
            case ast.IfExp(body=one, orelse=other):
                chosen += [one, other]
            case ast.Constant(value=str(said)) if said in STANDING_WORDS:
                return True
    return False


RULES = (
    *(imports_of_rooms_above, needed_modules, click_imports, clock_imports),
    *(reaching_into_the_state, joins_in, wording_in),
)


def test_the_public_names_are_there_and_no_others() -> None:
    homed = [name for names in orchestrator._HOMES.values() for name in names]
    assert sorted(homed) == sorted(orchestrator.__all__)
    for name in orchestrator.__all__:
        assert getattr(orchestrator, name).__doc__
    with pytest.raises(AttributeError, match="nonsense"):
        _ = orchestrator.nonsense


@pytest.mark.parametrize(
    "script", ["kills.kill_300", "kills.soak", "kills.many_hosts", "kills.agent_loop_60", "web.screenshots"]
)
def test_the_scripts_beside_the_tests_can_be_started(script: str) -> None:
    """They are run by hand only, so that a renamed function would be noticed late."""
    importlib.import_module(script)


def test_no_two_test_files_have_one_name() -> None:
    """pytest could not collect both."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names))

"""The one file of a page's modules and the one of its style sheets, and what comes with the page itself."""

from __future__ import annotations

import json
import re
import threading
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from starlette.templating import Jinja2Templates
from support.gallery_scene import Gallery, fill
from support.report_project import Album

from orchestrator.web import first_visit, page_files
from orchestrator.web.page_files import PAGES, modules_of, page_file
from orchestrator.web.static_files import VersionedFiles

STATIC = Path(page_files.__file__).parent / "static"
ADDRESSES = {"index": "/", "gallery": "/gallery", "grid": "/grid", "state": "/states"}


@pytest.fixture
def static(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of modules of the test's own."""
    monkeypatch.setattr(page_files, "_FOLDER", tmp_path)
    monkeypatch.setattr(page_files, "PAGES", {"index": page_files.Parts(("a.js",), ())})
    monkeypatch.setattr(page_files, "_FRAME", page_files.Parts((), ()))
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_one_script_and_one_style_sheet_that_are_there(gallery: Gallery, page: str) -> None:
    named = re.findall(r'"(/static/[^"]+\.(?:js|css))"', gallery.http.get(ADDRESSES[page]).text)
    assert [one.partition("/v-")[2].partition("/")[2] for one in named] == [
        "theme.js",
        f"pages/{page}.css",
        f"pages/{page}.js",
    ]
    for address, kind in zip(named[1:], ("text/css", "text/javascript"), strict=True):
        answer = gallery.http.get(address)
        assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, kind)
    assert gallery.http.get(f"{named[2]}.map").json()["version"] == 3


@pytest.mark.parametrize("page", PAGES)
def test_every_line_of_a_module_is_where_the_map_says(page: str) -> None:
    lines = str(page_file(f"pages/{page}.js", "test")).splitlines()
    sections = json.loads(str(page_file(f"pages/{page}.js.map", "test")))["sections"]
    (entry,) = PAGES[page].scripts
    assert sections[-1]["map"]["sources"] == [f"../{entry}"]
    assert len({one["map"]["sources"][0] for one in sections}) == len(sections) > 10
    for one in sections:
        (source,) = one["map"]["sources"]
        own = (STATIC / source.removeprefix("../")).read_text().splitlines()
        first = one["offset"]["line"]
        assert one["map"]["mappings"].count(";") == len(own) - 1
        for before, after in zip(own, lines[first : first + len(own)], strict=True):
            if not before.startswith("import ") and "import.meta.url" not in before:
                assert after == before.removeprefix("export "), source


def test_a_module_comes_once_and_after_what_it_imports(static: Path) -> None:
    (static / "room").mkdir()
    (static / "a.js").write_text('import { b } from "./room/b.js";\nimport { c as d } from "./c.js";\nb(d);\n')
    (static / "room/b.js").write_text('import { c } from "../c.js";\nexport async function b() { return c; }\n')
    (static / "c.js").write_text('export const c = new URL("x.js", import.meta.url);\nexport class D {}\n')
    assert modules_of(("a.js", "c.js")) == ("c.js", "room/b.js", "a.js")
    assert page_file("pages/index.js", static) == (
        "const $module0 = (() => {\n"
        'const c = new URL("x.js", new URL("../c.js", import.meta.url));\nclass D {}\nreturn { c, D }; })();\n'
        "const $module1 = (() => {\n"
        "const { c } = $module0;\nasync function b() { return c; }\nreturn { b }; })();\n"
        "const $module2 = (() => {\n"
        "const { b } = $module1;\nconst { c: d } = $module0;\nb(d);\nreturn {  }; })();\n"
        "//# sourceMappingURL=index.js.map\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        'import * as b from "./b.js";',
        'import b from "./b.js";',
        'import {\n  b,\n} from "./b.js"',
        'export * from "./b.js";',
        "export default 1;",
        "export let b = 1;",
        "await 1;",
        'import { a } from "./a.js";',
    ],
)
def test_a_module_that_cannot_be_put_together_is_named(static: Path, text: str) -> None:
    (static / "a.js").write_text(text + "\n")
    (static / "b.js").write_text("export const b = 1;\n")
    with pytest.raises(ValueError, match=r"a\.js"):
        page_file("pages/index.js", (static, text))


@pytest.mark.parametrize("path", ["pages/nope.js", "pages/index.html", "pages/index", "pages/../app.py", "main.js"])
def test_nothing_else_is_put_together(path: str) -> None:
    assert page_file(path, "test") is None


class _Data(HTMLParser):
    """The text of the element with the first page of the feed."""

    text: str | None = None
    _is_inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._is_inside = ("id", "feed-first") in attrs

    def handle_endtag(self, tag: str) -> None:
        self._is_inside = False

    def handle_data(self, data: str) -> None:
        if self._is_inside:
            self.text = (self.text or "") + data


def came_with(gallery: Gallery, address: str) -> Any:
    answer = gallery.http.get(address)
    assert answer.status_code == 200
    parser = _Data()
    parser.feed(answer.text)
    return json.loads(parser.text) if parser.text is not None else None


def test_the_start_page_comes_with_the_first_page_of_the_feed(gallery: Gallery, album: Album) -> None:
    fill(album, prompt="</script><!--<script>alert(1)</script> & \u2028 é")
    assert came_with(gallery, "/") is None, "nobody waits until a state is open"
    now = gallery.get("/api/feed")
    assert came_with(gallery, "/") == now
    assert now["batches"][0]["prompt"].startswith("</script>")
    assert came_with(gallery, "/?batch=b1") is None, "where it is not shown"
    fill(album, "b2")
    assert [one["batchId"] for one in came_with(gallery, "/")["batches"]] == ["b2", "b1"]


def test_the_start_page_comes_with_no_more_batches_than_fill_a_window(gallery: Gallery, album: Album) -> None:
    for name in ("b1", "b2", "b3", "b4"):
        fill(album, name, count=24)
    feed = gallery.get("/api/feed")
    first = came_with(gallery, "/")
    assert [one["batchId"] for one in first["batches"]] == ["b4", "b3", "b2"]
    assert first["batches"] == feed["batches"][:3]
    rest = gallery.get("/api/feed", after=first["next"])
    assert [one["batchId"] for one in rest["batches"]] == ["b1"]


def test_the_first_thumbnails_are_asked_for_with_the_page(gallery: Gallery, album: Album) -> None:
    fill(album, count=5)
    (batch,) = gallery.get("/api/feed")["batches"]
    named = re.findall(r'<link rel="preload" as="fetch" [^>]*href="([^"]+)"', gallery.http.get("/").text)
    assert named == [image["thumbnail"] for image in batch["images"][:4]]
    assert 'rel="preload"' not in gallery.http.get("/?batch=b1").text


def test_the_first_visitor_waits_for_no_template(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = Jinja2Templates(directory=STATIC.parent / "pages")
    monkeypatch.setattr(first_visit, "PAGES", pages)
    prepared = threading.Event()
    monkeypatch.setattr(first_visit.thumbnails, "prepare", prepared.set)
    given_way: list[None] = []
    end = first_visit.prepare(VersionedFiles(), give_way=lambda: given_way.append(None))
    assert prepared.wait(30)
    end()
    names = {name for _, name in pages.env.cache}
    assert names == {path.name for path in (STATIC.parent / "pages").iterdir()}
    assert len(given_way) == len(names) + 3


def test_a_state_that_cannot_be_read_keeps_no_page_from_coming(gallery: Gallery, album: Album) -> None:
    fill(album)
    gallery.get("/api/feed")
    album.state.write_text("{")
    assert came_with(gallery, "/")["notes"]

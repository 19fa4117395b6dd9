"""What the first page needs beside its data, made ready while nobody waits: who starts the front end then opens it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial

from orchestrator.web import page_files, thumbnails
from orchestrator.web.error_pages import PAGES
from orchestrator.web.static_files import VersionedFiles


def prepare(static: VersionedFiles, *, give_way: Callable[[], None]) -> Callable[[], None]:
    """On another thread, step by step; returns what ends it. Without it the first visitor waits for the same.

    `give_way`: called before each step, returns once nobody waits for an answer.
    """
    ended = threading.Event()

    def work() -> None:
        for step in steps(static):
            give_way()
            if ended.is_set():
                return
            step()

    thread = threading.Thread(target=work, name="first-visit", daemon=True)
    thread.start()

    def end() -> None:
        ended.set()
        thread.join()

    return end


def steps(static: VersionedFiles) -> Iterator[Callable[[], object]]:
    """What is to be made ready; what was, in this process, is not made again."""
    for name in PAGES.env.list_templates():
        yield partial(PAGES.get_template, name)
    version = static.address()
    for kind in ("css", "js"):
        yield partial(page_files.page_file, f"{page_files.FOLDER}/index.{kind}", version)
    yield thumbnails.prepare

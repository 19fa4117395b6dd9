"""A batch of drafts, and workflows that make something of its images; no server is needed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.batches.generate_report import Generated
from orchestrator.batches.spec import BatchSpec
from orchestrator.cycle.request import Request
from orchestrator.generation import generate
from orchestrator.settings import Overrides
from state.change import change_all
from state.item import Item, OutputRecord
from state.open_store import open_store
from support.image_project import INVERT
from support.projects import small_template
from support.state_scenes import NOON

DRAFTS = "drafts"
TEXT_TO_VIDEO: dict[str, Any] = {
    "1": {"class_type": "LoadVideo", "inputs": {"file": "a.mp4"}},
    "2": {"class_type": "SaveVideo", "inputs": {"video": ["1", 0], "filename_prefix": "x", "format": "auto"}},
}
REPAINT: dict[str, Any] = small_template() | {
    "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
    "5": {"class_type": "VAEEncode", "inputs": {"pixels": ["1", 0], "vae": ["4", 2]}},
}
REPAINT["3"]["inputs"]["denoise"] = 0.5
REPAINT["6"]["inputs"]["text"] = "sharp"


class Drafts:
    """A state with a batch `drafts` of three prompts, two images each, of which none is rendered yet."""

    def __init__(self, home: Path) -> None:
        self.home, self.state = home, home / "state.json"
        for name, graph in (("invert", INVERT), ("repaint", REPAINT), ("video", TEXT_TO_VIDEO)):
            (home / f"{name}.json").write_text(json.dumps(graph))
        (home / "prompts.txt").write_text("a fox\na cat\nan owl\n")
        made = self.add(
            "txt2img-sd15", prompts_file=str(home / "prompts.txt"), name=DRAFTS, batch_size=2, layout="batch"
        )
        self.keys = made
        with open_store(self.state, read_only=True) as store:
            self.batch = str(store.get(made[0]).batch)

    def add(self, template: str, **asked: Any) -> list[str]:
        """The keys of a batch that is added."""
        overrides = Overrides(template=template, output_dir=self.home / "out")
        outcome = generate(BatchSpec(**asked), request=Request(state=self.state, overrides=overrides), queue_only=True)
        assert isinstance(outcome, Generated)
        with open_store(self.state, read_only=True) as store:
            return store.batch_keys(outcome.record.batch)

    def stages(self, template: str = "invert.json", **asked: Any) -> list[Item]:
        """Those of a batch from the drafts."""
        keys = self.add(str(self.home / template), from_batch=DRAFTS, **asked)
        with open_store(self.state, read_only=True) as store:
            return store.get_many(keys)

    def complete(self, number: int, *, extension: str = "png") -> list[Path]:
        """A draft has both of its images; their files."""
        key, paths = self.keys[number - 1], []

        def done(item: Item) -> Item:
            stem = item.filename.rpartition(".")[0] or item.filename
            for name in (f"{stem}.{extension}", f"{stem}_002.{extension}"):
                paths.append(self.home / "out" / item.subfolder / name)
                paths[-1].parent.mkdir(parents=True, exist_ok=True)
                paths[-1].write_bytes(b"x")
            outputs = tuple(
                OutputRecord(path=path.relative_to(self.home / "out").as_posix(), bytes=1, sha256="ab")
                for path in paths
            )
            return item.complete(outputs=outputs, at=NOON, seconds=1.0)

        self.change(key, lambda now: now.submit(prompt_id="id", server="s", at=NOON, fingerprint="f"))
        self.change(key, done)
        return paths

    def change(self, key: str, edit: Callable[[Item], Item]) -> None:
        with open_store(self.state) as store:
            change_all(store, store.get_many([key]), edit)

    def due(self) -> list[str]:
        with open_store(self.state, read_only=True) as store:
            return [item.key for item in store.due(99)]

    def batches(self) -> int:
        with open_store(self.state, read_only=True) as store:
            return len(store.batches.read())

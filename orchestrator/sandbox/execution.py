"""The execution of one prompt: messages, progress, the cache, and the ways in which it can end."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from typing import Any, Protocol

from orchestrator.clock import Clock
from orchestrator.sandbox import drawing, render
from orchestrator.sandbox.counts import Counts
from orchestrator.sandbox.events import Events
from orchestrator.sandbox.faults import Fault, Faults
from orchestrator.sandbox.files import Files
from orchestrator.sandbox.graph import run_order, signatures
from orchestrator.sandbox.nodes import Catalogue, NodeClass
from orchestrator.sandbox.queue import QueueEntry, Result
from orchestrator.sandbox.validate import LOADERS, MODEL_INPUTS, is_link

Cache = dict[str, render.Computed]
"""The outputs of the previous prompt's nodes, by signature. Like ComfyUI's cache it only holds one prompt."""

_FAULTS = {
    Fault.FAILURE: ("RuntimeError", "the sandbox was told to fail this prompt\n"),
    Fault.OUT_OF_MEMORY: (
        "torch.OutOfMemoryError",
        "Allocation on device 0 would exceed allowed memory. (out of memory)\nThe sandbox was told to run out of it.\n",
    ),
}
_STICKY = (
    "torch.AcceleratorError",
    "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be asynchronously reported at some "
    "other API call, so the stacktrace below might be incorrect.\n",
)


class Ended(Exception):
    """The server crashes or stalls: the prompt stops, and is not recorded."""


class Interrupts(Protocol):
    """The ways to stop a running prompt from outside."""

    interrupted: bool
    cut_short: bool

    def pause(self, seconds: float) -> None:
        """Wait, or less if interrupted. Errors: Ended."""


@dataclass(frozen=True)
class Surroundings:
    """Shared by all executions of a server."""

    files: Files
    catalogue: Catalogue
    faults: Faults
    counts: Counts
    events: Events
    clock: Clock
    loaded: dict[str, str] = field(default_factory=dict)
    """The model last loaded, by the input that names it."""


class _Interrupted(Exception):
    pass


class _Failed(Exception):
    def __init__(self, kind: str, message: str, trace: list[str], inputs: dict[str, Any]) -> None:
        super().__init__(message)
        self.details = {
            "exception_message": message,
            "exception_type": kind,
            "traceback": trace,
            "current_inputs": {name: [_plain(value)] for name, value in inputs.items()},
        }


class Execution:
    """Runs one queue entry; `run` may be called once. `is_sick`: it fails as soon as a node has work to do."""

    def __init__(
        self, entry: QueueEntry, *, cache: Cache, around: Surroundings, interrupts: Interrupts, is_sick: bool = False
    ) -> None:
        self._entry = entry
        self._graph = entry.graph
        self._cache = cache
        self._around = around
        self._interrupts = interrupts
        self._is_sick = is_sick
        self._is_newer = around.faults.settings.is_newer
        client_id = entry.extra_data.get("client_id")
        self._client_id = client_id if isinstance(client_id, str) else None
        self._messages: list[tuple[str, dict[str, Any]]] = []
        self._progress: dict[str, dict[str, Any]] = {}
        self._executed: list[str] = []
        self._listed: dict[str, dict[str, Any]] = {}
        """What the nodes of this run show, in its order."""
        self._rendered = False
        self._seconds: dict[str, float] = {}

    def run(self) -> Result:
        """Execute every node that is not cached. Errors: Ended."""
        self._message("execution_start", {"prompt_id": self._entry.prompt_id})
        self._signatures = signatures(self._graph, fingerprint=self._fingerprint)
        for stale in self._cache.keys() - set(self._signatures.values()):
            del self._cache[stale]
        cached = [node for node in self._graph if self._signatures[node] in self._cache]
        self._message("execution_cached", {"nodes": cached, "prompt_id": self._entry.prompt_id})
        order = run_order(
            self._graph, outputs=self._entry.outputs, cached=set(cached), catalogue=self._around.catalogue
        )
        self._seconds = self._share_out([node for node in order if node not in cached])
        success = self._run_all(order)
        self._around.events.executing = None
        outputs, meta = self._outputs()
        return Result(success=success, messages=self._messages, outputs=outputs, meta=meta)

    def _run_all(self, order: list[str]) -> bool:
        for node in order:
            about = {
                "prompt_id": self._entry.prompt_id,
                "node_id": node,
                "node_type": self._graph[node]["class_type"],
                "executed": self._executed,
            }
            try:
                self._node(node)
            except _Interrupted:
                self._message("execution_interrupted", about, broadcast=True)
                return False
            except _Failed as failure:
                details = {**failure.details, "current_outputs": list(self._graph)}
                self._message("execution_error", {**about, **details})
                return False
        if self._is_newer:
            self._show_again()
        self._message("execution_success", {"prompt_id": self._entry.prompt_id})
        return True

    def _show_again(self) -> None:
        """Newer servers list what nodes in between showed in an earlier run, where it comes from the cache."""
        for node, signature in self._signatures.items():
            known = self._cache.get(signature)
            if known is not None and node not in self._executed and self._class(node).intermediate_output:
                self._tell_executed(node, known.ui)

    def _node(self, node: str) -> None:
        known = self._cache.get(self._signatures[node])
        if known is not None:
            self._tell_executed(node, known.ui)
            self._show(node, self._progress.get(node, {"value": 0, "max": 1}), finished=True)
            return
        self._show(node, {"value": 0.0, "max": 1.0})
        if self._client_id is not None:
            self._around.events.executing = (self._client_id, node)
        self._to_client("executing", self._about(node) | {"prompt_id": self._entry.prompt_id})
        if self._interrupts.interrupted:
            raise _Interrupted
        inputs = self._inputs(node)
        self._load(inputs)
        self._work(node, inputs)
        computed = self._compute(node, inputs)
        if computed.ui is not None:
            self._tell_executed(node, computed.ui)
        self._cache[self._signatures[node]] = computed
        self._show(node, self._progress[node], finished=True)
        self._executed.append(node)

    def _load(self, inputs: dict[str, Any]) -> None:
        """Spend the time that a model takes which was not the last one of its kind."""
        for name in MODEL_INPUTS:
            value = inputs.get(name)
            if isinstance(value, str) and self._around.loaded.get(name) != value:
                self._interrupts.pause(self._around.faults.settings.load_seconds)
                self._around.loaded[name] = value
                self._around.counts.loaded(value)

    def _work(self, node: str, inputs: dict[str, Any]) -> None:
        """Spend this node's share of the time, and apply faults in the nodes that do the work."""
        if node not in self._seconds:
            self._interrupts.pause(0.0)
            return
        if self._is_sick:
            raise self._failed(node, *_STICKY, inputs)
        steps = inputs["steps"] if self._is_sampler(node) else 0
        for step in range(1, steps + 1):
            self._interrupts.pause(self._seconds[node] / steps)
            if self._interrupts.interrupted:
                raise _Interrupted
            self._show(node, {"value": step, "max": steps})
            progress = {"value": step, "max": steps, "prompt_id": self._entry.prompt_id, "node": node}
            self._around.events.send("progress", progress, self._client_id)
            if self._around.faults.settings.latent_previews:
                share = step / steps
                about = _identity(node, self._entry.prompt_id)
                self._around.events.send_preview(drawing.latent_preview(share), about, self._client_id)
        if not steps:
            self._interrupts.pause(self._seconds[node])
            # A node other than a save node completes: ComfyUI checks for an interrupt before the next node.
            if self._interrupts.interrupted and self._is_output(node):
                raise _Interrupted
        for fault, (kind, message) in _FAULTS.items():
            if self._strikes(fault, inputs):
                raise self._failed(node, kind, message, inputs)

    def _failed(self, node: str, kind: str, message: str, inputs: dict[str, Any]) -> _Failed:
        return _Failed(kind, message, [f'  File "sandbox", in {self._graph[node]["class_type"]}\n'], inputs)

    def _strikes(self, fault: Fault, inputs: dict[str, Any]) -> bool:
        most = self._around.faults.settings.out_of_memory_above
        if fault is Fault.OUT_OF_MEMORY and 0 < most < render.pictures_at_once(inputs):
            return True
        return self._around.faults.strikes(fault)

    def _compute(self, node: str, inputs: dict[str, Any]) -> render.Computed:
        cut_short = self._interrupts.cut_short
        extra = self._entry.extra_data.get("extra_pnginfo")
        context = render.Context(
            self._around.files,
            self._graph,
            extra,
            share_written=0.5 if cut_short else 1.0,
            captions=not self._around.faults.settings.hide_captions,
        )
        # A node may raise anything; the exception becomes the result.
        try:
            computed = render.compute(self._graph[node]["class_type"], inputs, context)
        except Exception as error:
            trace = traceback.format_tb(error.__traceback__)
            raise _Failed(_type_name(error), f"{error}\n", trace, inputs) from error
        if self._is_output(node):
            if cut_short:
                raise Ended
            if not self._rendered:
                self._rendered = True
                self._around.counts.rendered(self._entry.prompt_id, self._entry.extra_data)
        return computed

    def _share_out(self, running: list[str]) -> dict[str, float]:
        """Nodes that take the prompt's time: samplers, else the last node before the save nodes, else a save node."""
        chosen = [node for node in running if self._is_sampler(node)]
        if not chosen:
            chosen = [node for node in running if not self._is_output(node)][-1:] or running[:1]
        total = self._around.faults.next_seconds() if chosen and not self._is_sick else 0.0
        return {node: total / len(chosen) for node in chosen}

    def _inputs(self, node: str) -> dict[str, Any]:
        """The node's inputs, with links replaced by the linked values."""
        found = {}
        for name, value in self._graph[node]["inputs"].items():
            if is_link(value):
                value = self._cache[self._signatures[value[0]]].values[value[1]]
            found[name] = value
        return found

    def _outputs(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """By node: what it shows, and what it is. Older servers list all that their cache has of these nodes."""
        known = {node: self._cache.get(signature) for node, signature in self._signatures.items()}
        kept = {node: one.ui for node, one in known.items() if one is not None and one.ui is not None}
        outputs = self._listed if self._is_newer else kept
        return outputs, {
            node: {"node_id": node, "display_node": node, "parent_node": None, "real_node_id": node} for node in outputs
        }

    def _show(self, node: str, progress: dict[str, Any], *, finished: bool = False) -> None:
        """Record a node's progress and send `progress_state`, which contains every node started so far."""
        if finished:
            progress = {**progress, "value": progress["max"]}
        self._progress[node] = {**progress, "state": "finished" if finished else "running"}
        if self._around.events.has_listeners:
            prompt_id = self._entry.prompt_id
            nodes = {each: {**state, **_identity(each, prompt_id)} for each, state in self._progress.items()}
            self._around.events.send("progress_state", {"prompt_id": prompt_id, "nodes": nodes}, self._client_id)

    def _message(self, event: str, data: dict[str, Any], *, broadcast: bool = False) -> None:
        """Record a message for the history and send it; without a client, only broadcasts are sent."""
        data = {**data, "timestamp": int(self._around.clock.now().timestamp() * 1000)}
        self._messages.append((event, data))
        if self._client_id is not None or broadcast:
            self._around.events.send(event, data, self._client_id)

    def _to_client(self, event: str, data: dict[str, Any]) -> None:
        if self._client_id is not None:
            self._around.events.send(event, data, self._client_id)

    def _tell_executed(self, node: str, ui: dict[str, Any] | None) -> None:
        if ui is not None:
            self._listed[node] = ui
        self._to_client("executed", self._about(node) | {"output": ui, "prompt_id": self._entry.prompt_id})

    def _about(self, node: str) -> dict[str, Any]:
        return {"node": node, "display_node": node}

    def _is_sampler(self, node: str) -> bool:
        return self._graph[node]["class_type"] in render.SAMPLERS

    def _is_output(self, node: str) -> bool:
        return self._class(node).output_node

    def _class(self, node: str) -> NodeClass:
        return self._around.catalogue[self._graph[node]["class_type"]]

    def _fingerprint(self, node: dict[str, Any]) -> str:
        image = node["inputs"].get("image")
        if node["class_type"] in LOADERS and isinstance(image, str):
            return self._around.files.fingerprint(image)
        return ""


def _identity(node: str, prompt_id: str) -> dict[str, Any]:
    return {
        "node_id": node,
        "prompt_id": prompt_id,
        "display_node_id": node,
        "parent_node_id": None,
        "real_node_id": node,
    }


def _type_name(error: Exception) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, int | float | str) else str(value)

"""A fake ComfyUI: its `server`, `folder_paths`, cache and executor, as far as nodes use them.

It follows ComfyUI 0.3.64 in everything that nodes can observe: a running prompt is a copy made before its execution,
the result of `IS_CHANGED` is written into the graph, cached nodes are not executed again, a prompt loses its secrets
when it ends, and it is in the history before the next one leaves the queue.
"""

from __future__ import annotations

import copy
import heapq
import importlib.util
import itertools
import json
import sys
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

NODE = Path(__file__).parents[2] / "orchestrator" / "comfyui_node"
MODULES = ("server", "folder_paths", "torch", "comfy_execution", "comfy_execution.graph_utils")
_names = itertools.count()

Graph = dict[str, dict[str, Any]]


class Killed(BaseException):
    """The process was killed: nothing is recorded after this."""


class Interrupted(Exception):
    """Raised by ComfyUI inside a node after Cancel was pressed."""


class Tensor:
    """The part of a torch tensor that the nodes use."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array = array

    def cpu(self) -> Tensor:
        return self

    def numpy(self) -> np.ndarray[Any, Any]:
        return self.array


class ExecutionBlocker:
    def __init__(self, message: str | None) -> None:
        self.message = message


class PromptQueue:
    """ComfyUI's queue, without the browser."""

    def __init__(self) -> None:
        self.mutex = threading.RLock()
        self.queue: list[tuple[Any, ...]] = []
        self.currently_running: dict[int, tuple[Any, ...]] = {}
        self.history: dict[str, dict[str, Any]] = {}
        self._counter = itertools.count()

    def put(self, item: tuple[Any, ...]) -> None:
        with self.mutex:
            heapq.heappush(self.queue, item)

    def get(self) -> tuple[tuple[Any, ...], int]:
        with self.mutex:
            item = heapq.heappop(self.queue)
            number = next(self._counter)
            self.currently_running[number] = copy.deepcopy(item)
            return item, number

    def task_done(self, number: int, messages: list[tuple[str, dict[str, Any]]], *, well: bool) -> None:
        with self.mutex:
            prompt = self.currently_running.pop(number)
            prompt[3].pop("api_key_comfy_org", None)
            status = {"status_str": "success" if well else "error", "completed": well, "messages": messages}
            self.history[prompt[1]] = {"prompt": prompt, "outputs": {}, "status": status}

    def get_current_queue(self) -> tuple[list[Any], list[Any]]:
        with self.mutex:
            return list(self.currently_running.values()), copy.deepcopy(self.queue)

    def get_history(self, prompt_id: str) -> dict[str, Any]:
        with self.mutex:
            return {prompt_id: copy.deepcopy(self.history[prompt_id])} if prompt_id in self.history else {}


class Invert:
    """A node of another package between the Loader and the saver."""

    FUNCTION = "invert"
    RETURN_TYPES = ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"image": ("IMAGE",)}}

    def invert(self, image: Tensor) -> tuple[Tensor]:
        return (Tensor(1 - image.array),)


class Text:
    """A node of another package that returns a text."""

    FUNCTION = "give"
    RETURN_TYPES = ("STRING",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"text": ("STRING", {})}}

    def give(self, text: str) -> tuple[str]:
        return (text,)


class ComfyUI:
    """A server process with its directories; `restart` starts it again after a kill -9."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name in ("input", "output", "temp", "user"):
            (directory / name).mkdir(parents=True)
        self.seen: list[Any] = []
        """Inputs of the foreign save node, run by run."""
        self.runs: list[str] = []
        """prompt_ids in the order of their execution."""
        self.said: dict[str, str] = {}
        """The error message of each prompt_id."""
        self.before: Callable[[str], None] = lambda class_type: None
        """Called before each node's execution."""
        self.start()

    def start(self) -> None:
        self.queue = PromptQueue()
        self.server = SimpleNamespace(number=0, prompt_queue=self.queue, last_prompt_id=None)
        self.cache: dict[str, tuple[Any, list[Any]]] = {}
        sys.modules.update(self._modules())
        self._package = f"custom_node_{next(_names)}"
        spec = importlib.util.spec_from_file_location(self._package, NODE / "__init__.py")
        assert spec is not None
        assert spec.loader is not None
        self.node = importlib.util.module_from_spec(spec)
        sys.modules[self._package] = self.node
        spec.loader.exec_module(self.node)
        self.classes: dict[str, Any] = {
            **self.node.NODE_CLASS_MAPPINGS,
            "Invert": Invert,
            "Text": Text,
            "SaveImage": _recorder(self.seen),
            "PreviewImage": _recorder([]),
        }

    def stop(self) -> None:
        """End the process, with its queue, history, threads and module state."""
        self.part("chain")._runs.clear()
        del sys.modules["server"]
        self.settle()
        for name in [*MODULES, *(name for name in sys.modules if name.split(".")[0] == self._package)]:
            sys.modules.pop(name, None)

    def restart(self) -> None:
        self.stop()
        self.start()

    def part(self, name: str) -> ModuleType:
        """A module of the node package as loaded by this process."""
        return sys.modules[f"{self._package}.{name}"]

    def post(self, graph: Graph, **extra: Any) -> str:
        """`POST /prompt`; returns the prompt_id. AssertionError with the node's message if it is refused."""
        for node in graph.values():
            check = getattr(self.classes[node["class_type"]], "VALIDATE_INPUTS", None)
            given = node["inputs"].get("directory") if check else None
            answer = check(None if isinstance(given, list) else given) if check else True
            assert answer is True, answer
        prompt_id = str(uuid.uuid4())
        outputs = [
            key for key, node in graph.items() if getattr(self.classes[node["class_type"]], "OUTPUT_NODE", False)
        ]
        self.queue.put((self.server.number, prompt_id, copy.deepcopy(graph), dict(extra), outputs, {"secret": "key"}))
        self.server.number += 1
        return prompt_id

    def work(self, *, hurried: bool = False, at_most: int = 100) -> None:
        """Execute until the queue stays empty. `hurried`: the next waiting prompt is started before any thread could
        see how the previous one ended. AssertionError if it never becomes empty."""
        for _ in range(at_most):
            if not (hurried and self.queue.queue):
                self.settle()
            if not self.queue.queue:
                return
            self.step()
        raise AssertionError(f"the queue is not empty after {at_most} runs")

    def outputs(self, key: str) -> Any:
        """Outputs of the last execution of the node."""
        return self.cache[key][1]

    def settle(self) -> None:
        """Wait until the threads that watch prompts have seen every end."""
        for thread in self._watchers():
            thread.join(timeout=10)
            assert not thread.is_alive(), f"{thread.name} still waits"

    def step(self) -> None:
        """Execute the next prompt of the queue."""
        item, number = self.queue.get()
        _, prompt_id, graph, extra, outputs, *_ = item
        self.server.last_prompt_id = prompt_id
        self.runs.append(prompt_id)
        messages: list[tuple[str, dict[str, Any]]] = []
        try:
            self._execute(graph, extra, outputs)
        except Interrupted:
            messages.append(("execution_interrupted", {}))
        except Exception as error:  # noqa: BLE001 - a node may raise anything
            self.said[prompt_id] = str(error)
            messages.append(("execution_error", {"exception_message": f"{error}\n", "node_id": "1"}))
        else:
            messages.append(("execution_success", {}))
        self.queue.task_done(number, messages, well=messages[0][0] == "execution_success")

    def _execute(self, graph: Graph, extra: dict[str, Any], outputs: list[str]) -> None:
        for node in graph.values():
            changed = getattr(self.classes[node["class_type"]], "IS_CHANGED", None)
            if changed is not None and "is_changed" not in node:
                node["is_changed"] = changed(**node["inputs"])
        done: set[str] = set()
        for key in outputs:
            self._value(key, graph, extra, done)

    def _value(self, key: str, graph: Graph, extra: dict[str, Any], done: set[str]) -> Any:
        node = graph[key]
        signature = _signature(key, graph)
        if key not in self.cache or self.cache[key][0] != signature:
            inputs = {}
            for name, value in node["inputs"].items():
                if isinstance(value, list):
                    inputs[name] = self._value(value[0], graph, extra, done)[value[1]]
                else:
                    inputs[name] = value
            self.cache[key] = (signature, self._call(key, graph, extra, inputs))
        return self.cache[key][1]

    def _call(self, key: str, graph: Graph, extra: dict[str, Any], inputs: dict[str, Any]) -> Any:
        kind = self.classes[graph[key]["class_type"]]
        if any(isinstance(value, ExecutionBlocker) for value in inputs.values()):
            return (ExecutionBlocker(None),) * len(kind.RETURN_TYPES)
        self.before(graph[key]["class_type"])
        known = {"PROMPT": graph, "EXTRA_PNGINFO": extra.get("extra_pnginfo"), "UNIQUE_ID": key}
        inputs |= {name: known[what] for name, what in kind.INPUT_TYPES().get("hidden", {}).items()}
        if getattr(kind, "INPUT_IS_LIST", False):
            inputs = {name: [value] for name, value in inputs.items()}
        return getattr(kind(), kind.FUNCTION)(**inputs)

    def _watchers(self) -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name.startswith("burst-")]

    def _modules(self) -> dict[str, ModuleType]:
        parts: dict[str, dict[str, Any]] = {
            "server": {"PromptServer": SimpleNamespace(instance=self.server)},
            "folder_paths": {
                f"get_{name}_directory": lambda name=name: str(self.directory / name)
                for name in ("input", "output", "temp", "user")
            },
            "torch": {"from_numpy": Tensor},
            "comfy_execution": {},
            "comfy_execution.graph_utils": {"ExecutionBlocker": ExecutionBlocker},
        }
        made = {}
        for name, contents in parts.items():
            made[name] = ModuleType(name)
            vars(made[name]).update(contents)
        return made


def _signature(key: str, graph: Graph) -> str:
    """The key of a node's outputs in ComfyUI's cache: its inputs and those of its ancestors."""
    node = graph[key]
    sources = [_signature(value[0], graph) for value in node["inputs"].values() if isinstance(value, list)]
    return json.dumps([key, node["class_type"], node.get("is_changed"), node["inputs"], sources], sort_keys=True)


def _recorder(seen: list[Any]) -> type:
    """A save node of another package that records its inputs."""

    class Recorder:
        FUNCTION = "save"
        RETURN_TYPES = ()
        OUTPUT_NODE = True

        @classmethod
        def INPUT_TYPES(cls) -> dict[str, Any]:
            return {"required": {"images": ("IMAGE",), "name": ("STRING", {})}}

        def save(self, images: Tensor, name: Any) -> dict[str, Any]:
            seen.append(name)
            return {"ui": {}}

    return Recorder

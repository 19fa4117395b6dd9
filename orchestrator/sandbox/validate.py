"""Validation of submitted graphs, with ComfyUI's error types, messages and format per node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from orchestrator.sandbox.nodes import Catalogue, Options

Problem = dict[str, Any]
LOADERS = ("LoadImage", "LoadImageMask")
MODEL_INPUTS = ("ckpt_name", "lora_name", "vae_name", "model_name")
_CONVERSIONS: dict[str, Callable[[Any], Any]] = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}


@dataclass(frozen=True)
class Verdict:
    """`error` is None if at least one output is valid; `outputs` are the valid save nodes."""

    error: Problem | None
    outputs: tuple[str, ...]
    node_errors: dict[str, Any]


def is_link(value: object) -> bool:
    """Whether an input's value is `[node id, output index]`."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int)


class Validation:
    """A validation of one graph. Like ComfyUI it converts literal inputs in place ("64" becomes 64)."""

    def __init__(
        self, catalogue: Catalogue, *, input_exists: Callable[[str], bool], any_model: bool, is_newer: bool
    ) -> None:
        self._catalogue = catalogue
        self._is_newer = is_newer
        self._input_exists = input_exists
        self._any_model = any_model
        self._found: dict[str, tuple[bool, list[Problem]]] = {}

    def verdict(self, graph: dict[str, Any], *, targets: list[str] | None = None) -> Verdict:
        """Check every save node, or only `targets`, and all their dependencies."""
        outputs = []
        for node_id, node in graph.items():
            node_class = self._catalogue.get(node["class_type"]) if "class_type" in node else None
            if node_class is None:
                return (_missing if self._is_newer else _refused)(node_id, node)
            if node_class.output_node and (targets is None or node_id in targets):
                outputs.append(node_id)
        if not outputs:
            return Verdict(_problem("prompt_no_outputs", "Prompt has no outputs", ""), (), {})
        return self._of_outputs(graph, outputs)

    def _of_outputs(self, graph: dict[str, Any], outputs: list[str]) -> Verdict:
        good: list[str] = []
        said: list[str] = []
        node_errors: dict[str, Any] = {}
        for output in outputs:
            try:
                valid, problems = self._node(graph, output)
            except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError) as error:
                valid, problems = False, [_exception("exception_during_validation", "validating node", error, {})]
                self._found[output] = (valid, problems)
            if valid:
                good.append(output)
                continue
            said += [f"{problem['message']}: {problem['details']}" for problem in problems]
            for node_id, (fine, reasons) in self._found.items():
                if not fine and reasons:
                    entry = {"errors": reasons, "dependent_outputs": [], "class_type": graph[node_id]["class_type"]}
                    node_errors.setdefault(node_id, entry)["dependent_outputs"].append(output)
        if good:
            return Verdict(None, tuple(good), node_errors)
        refused = _problem("prompt_outputs_failed_validation", "Prompt outputs failed validation", "\n".join(said))
        return Verdict(refused, (), node_errors)

    def _node(self, graph: dict[str, Any], node_id: str) -> tuple[bool, list[Problem]]:
        if node_id in self._found:
            return self._found[node_id]
        node = graph[node_id]
        problems: list[Problem] = []
        upstream_valid = True
        for name, (kind, options, required) in self._catalogue.inputs(self._catalogue[node["class_type"]]).items():
            if name not in node["inputs"]:
                if required:
                    info = {"input_name": name}
                    problems.append(_problem("required_input_missing", "Required input is missing", name, info))
            elif isinstance(node["inputs"][name], list):
                problem, valid = self._link(graph, name, node["inputs"][name], kind, options)
                problems += [problem] if problem else []
                upstream_valid = upstream_valid and valid
            else:
                problem = self._literal(node, name, kind, options)
                problems += [problem] if problem else []
        self._found[node_id] = (not problems and upstream_valid, problems)
        return self._found[node_id]

    def _link(
        self, graph: dict[str, Any], name: str, value: list[Any], kind: str | list[str], options: Options
    ) -> tuple[Problem | None, bool]:
        info: Problem = {"input_name": name, "input_config": [kind, options]}
        if len(value) != 2:
            message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
            return _problem("bad_linked_input", message, name, {**info, "received_value": value}), True
        source, slot = value
        given = self._catalogue[graph[source]["class_type"]].outputs[slot]
        if kind not in ("*", given):
            details = f"{name}, received_type({given}) mismatch input_type({kind})"
            info |= {"received_type": given, "linked_node": value}
            return _problem("return_type_mismatch", "Return type mismatch between linked nodes", details, info), True
        try:
            return None, self._node(graph, source)[0]
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError) as error:
            info |= {"linked_node": value}
            problem = _exception("exception_during_inner_validation", "validating inner node", error, info)
            self._found[source] = (False, [problem])
            return None, False

    def _literal(self, node: dict[str, Any], name: str, kind: str | list[str], options: Options) -> Problem | None:
        inputs = node["inputs"]
        value = inputs[name]
        if isinstance(value, dict) and "__value__" in value:
            value = inputs[name] = value["__value__"]
        info: Problem = {"input_name": name, "input_config": [kind, options], "received_value": value}
        if isinstance(kind, str) and kind in _CONVERSIONS:
            try:
                value = inputs[name] = info["received_value"] = _CONVERSIONS[kind](value)
            except (TypeError, ValueError) as error:
                message = f"Failed to convert an input value to a {kind} value"
                info["exception_message"] = str(error)
                return _problem("invalid_input_type", message, f"{name}, {value}, {error}", info)
        if node["class_type"] in LOADERS and name == "image":
            if self._input_exists(str(value)):
                return None
            details = f"{name} - Invalid image file: {value}"
            return _problem(
                "custom_validation_failed", "Custom validation failed for node", details, {"input_name": name}
            )
        if "min" in options and value < options["min"]:
            return _problem("value_smaller_than_min", f"Value {value} smaller than min of {options['min']}", name, info)
        if "max" in options and value > options["max"]:
            return _problem("value_bigger_than_max", f"Value {value} bigger than max of {options['max']}", name, info)
        offered = options.get("options") if kind == "COMBO" else kind
        if isinstance(offered, list) and value not in offered and not (self._any_model and name in MODEL_INPUTS):
            listed = str(offered)
            if len(offered) > 20:
                listed, info["input_config"] = f"(list of length {len(offered)})", None
            shown = repr(value) if self._is_newer else f"'{value}'"
            return _problem("value_not_in_list", "Value not in list", f"{name}: {shown} not in {listed}", info)
        return None


def _problem(kind: str, message: str, details: str, extra_info: Problem | None = None) -> Problem:
    return {"type": kind, "message": message, "details": details, "extra_info": extra_info or {}}


def _refused(node_id: str, node: Problem) -> Verdict:
    """For a node without a class, or of one that is not there."""
    reason = "a node is missing the class_type property."
    if "class_type" in node:
        reason = f"node {node['class_type']} does not exist."
    problem = _problem("invalid_prompt", f"Cannot execute because {reason}", f"Node ID '#{node_id}'")
    return Verdict(problem, (), {})


def _missing(node_id: str, node: Problem) -> Verdict:
    """As `_refused`, in the newer version's words."""
    class_type = node.get("class_type")
    title = node.get("_meta", {}).get("title", class_type)
    message = f"Node '{title}' not found. The custom node may not be installed."
    if class_type is None:
        name = title or f"ID #{node_id}"
        message = f"Node '{name}' has no class_type. The workflow may be corrupted or a custom node is missing."
    info = {"node_id": node_id, "class_type": class_type, "node_title": title}
    return Verdict(_problem("missing_node_type", message, f"Node ID '#{node_id}'", info), (), {})


def _exception(kind: str, doing: str, error: Exception, info: Problem) -> Problem:
    extra = {**info, "exception_type": type(error).__qualname__, "traceback": []}
    if info:
        extra["exception_message"] = str(error)
    return _problem(kind, f"Exception when {doing}", str(error), extra)

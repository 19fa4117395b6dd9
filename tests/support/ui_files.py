"""UI files of our own, small, one for each thing that the converter has to know. Plain values; nothing reads a disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

OUTER, INNER = "0b0f8a52-7a1c-4d53-9f6a-000000000001", "0b0f8a52-7a1c-4d53-9f6a-000000000002"
MUTED, BYPASSED = 2, 4
_WIDGET_TYPES = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")


class Level:
    """Nodes and links, of a workflow or of a subgraph."""

    def __init__(self, *, first: int = 1) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.links: list[dict[str, Any]] = []
        self._next = first

    def node(self, kind: str, *values: Any, outputs: Sequence[str] = (), **more: Any) -> int:
        """Add a node with these `widgets_values` and types of outputs; its id. `more`: fields as they are saved."""
        node_id: int = more.pop("id", self._next)
        self._next = max(self._next, node_id + 1)
        node = {
            "id": node_id, "type": kind, "pos": [0, 0], "size": [200, 100], "flags": {}, "order": len(self.nodes),
            "mode": 0, "inputs": [], "properties": {}, "widgets_values": list(values),
            "outputs": [{"name": each, "type": each, "links": []} for each in outputs],
        }  # fmt: skip
        self.nodes.append(node | more)
        return node_id

    def link(self, origin: int, slot: int, target: int, name: str, kind: str, *, widget: bool | None = None) -> int:
        """Link an output to the input `name`; one of a widget's type is that of a widget, unless `widget` says."""
        node, ports = self._by_id(target)
        link_id = len(self.links) + 1
        if node is not None:
            socket = {"name": name, "type": kind, "link": link_id}
            if kind in _WIDGET_TYPES if widget is None else widget:
                socket["widget"] = {"name": name}
            node["inputs"].append(socket)
            at = len(node["inputs"]) - 1
        else:
            at = next(place for place, port in enumerate(ports) if port["name"] == name)
            ports[at]["linkIds"].append(link_id)
        ends = {"origin_id": origin, "origin_slot": slot, "target_id": target, "target_slot": at}
        self.links.append({"id": link_id, **ends, "type": kind})
        self._leave(origin, slot, link_id)
        return link_id

    def _by_id(self, node_id: int) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
        return next(node for node in self.nodes if node["id"] == node_id), []

    def _leave(self, origin: int, slot: int, link_id: int) -> None:
        self._by_id(origin)[0]["outputs"][slot]["links"].append(link_id)  # type: ignore[index]

    def picture(self, **more: Any) -> int:
        """Add an EmptyImage."""
        return self.node("EmptyImage", 64, 64, 1, 0, outputs=["IMAGE"], **more)

    def save(self, origin: int, slot: int = 0, **more: Any) -> int:
        """Add a SaveImage of an output."""
        node_id = self.node("SaveImage", "ui", **more)
        self.link(origin, slot, node_id, "images", "IMAGE")
        return node_id


class Subgraph(Level):
    """A subgraph with inputs and outputs of these (name, type)."""

    def __init__(
        self,
        subgraph_id: str,
        *,
        inputs: Sequence[tuple[str, str]],
        outputs: Sequence[tuple[str, str]],
        first: int = 10,
    ) -> None:
        super().__init__(first=first)
        self.id = subgraph_id
        self.inputs = [{"id": f"in-{name}", "name": name, "type": kind, "linkIds": []} for name, kind in inputs]
        self.outputs = [{"id": f"out-{name}", "name": name, "type": kind, "linkIds": []} for name, kind in outputs]

    def enter(self, name: str, target: int, input_name: str, **more: Any) -> int:
        """Link an input of the subgraph to one of a node inside, or (target -20) to an output of the subgraph."""
        at = next(place for place, port in enumerate(self.inputs) if port["name"] == name)
        return self.link(-10, at, target, input_name, self.inputs[at]["type"], **more)

    def leave(self, origin: int, slot: int, name: str) -> int:
        """Link an output of a node inside to an output of the subgraph."""
        kind = next(port["type"] for port in self.outputs if port["name"] == name)
        return self.link(origin, slot, -20, name, kind)

    def _by_id(self, node_id: int) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
        return (None, self.outputs) if node_id == -20 else super()._by_id(node_id)

    def _leave(self, origin: int, slot: int, link_id: int) -> None:
        if origin == -10:
            self.inputs[slot]["linkIds"].append(link_id)
        else:
            super()._leave(origin, slot, link_id)

    def document(self) -> dict[str, Any]:
        """As a file has it."""
        return {
            "id": self.id, "version": 1, "revision": 0, "config": {}, "name": f"Subgraph {self.id[-1]}", "state": {},
            "inputNode": {"id": -10, "bounding": [0, 0, 99, 99]}, "outputNode": {"id": -20, "bounding": [0, 0, 99, 99]},
            "inputs": self.inputs, "outputs": self.outputs, "widgets": [], "nodes": self.nodes, "groups": [],
            "links": self.links, "extra": {},
        }  # fmt: skip


class UiFile(Level):
    """A workflow of version 0.4, as most files are."""

    def document(self, *subgraphs: Subgraph) -> dict[str, Any]:
        """As it is saved."""
        keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
        document: dict[str, Any] = {
            "last_node_id": self._next - 1, "last_link_id": len(self.links), "nodes": self.nodes,
            "links": [[link[key] for key in keys] for link in self.links], "groups": [], "config": {}, "extra": {},
            "version": 0.4,
        }  # fmt: skip
        if subgraphs:
            document["definitions"] = {"subgraphs": [each.document() for each in subgraphs]}
        return document


def sampling(f: Level, *, seed: Sequence[Any] = (7, "randomize"), **sampler: Any) -> dict[str, int]:
    """A text-to-image graph; the ids by role."""
    ckpt = f.node("CheckpointLoaderSimple", "a.safetensors", outputs=["MODEL", "CLIP", "VAE"])
    good = f.node("CLIPTextEncode", "a red ball", outputs=["CONDITIONING"], title="Prompt")
    bad = f.node("CLIPTextEncode", "", outputs=["CONDITIONING"])
    latent = f.node("EmptyLatentImage", 512, 768, 1, outputs=["LATENT"])
    k = f.node("KSampler", *seed, 20, 8, "euler", "normal", 1, outputs=["LATENT"], **sampler)
    decode = f.node("VAEDecode", outputs=["IMAGE"])
    f.link(ckpt, 1, good, "clip", "CLIP")
    f.link(ckpt, 1, bad, "clip", "CLIP")
    for origin, slot, name, kind in (
        (ckpt, 0, "model", "MODEL"), (good, 0, "positive", "CONDITIONING"), (bad, 0, "negative", "CONDITIONING"),
        (latent, 0, "latent_image", "LATENT"),
    ):  # fmt: skip
        f.link(origin, slot, k, name, kind)
    f.link(k, 0, decode, "samples", "LATENT")
    f.link(ckpt, 2, decode, "vae", "VAE")
    return {"ckpt": ckpt, "good": good, "bad": bad, "latent": latent, "k": k, "decode": decode}


def text_to_image() -> dict[str, Any]:
    f = UiFile()
    f.save(sampling(f)["decode"], title="Keep it")
    return f.document()


def control_as_boolean() -> dict[str, Any]:
    """As the first editors saved it."""
    f = UiFile()
    f.save(sampling(f, seed=(7, True))["decode"])
    return f.document()


def links_as_objects() -> dict[str, Any]:
    """Version 1 of the format."""
    f = UiFile()
    f.save(sampling(f)["decode"])
    return {**f.document(), "version": 1, "links": f.links, "state": {"lastNodeId": 7, "lastLinkId": 9}}


def notes_and_reroutes() -> dict[str, Any]:
    f = UiFile()
    picture = f.picture()
    f.node("Note", "nothing for the server")
    f.node("MarkdownNote", "# nor this")
    first, second = f.node("Reroute", outputs=["IMAGE"]), f.node("Reroute", outputs=["IMAGE"])
    f.link(picture, 0, first, "", "*")
    f.link(first, 0, second, "", "*")
    f.save(second)
    f.save(f.node("Reroute", outputs=["IMAGE"]))
    return f.document()


def primitives() -> dict[str, Any]:
    """One that sets two inputs, one behind a reroute, one for a choice; the widgets have other values."""
    f = UiFile()
    roles = sampling(f)
    f.save(roles["decode"])
    width = f.node("PrimitiveNode", 1024, "fixed", outputs=["INT"])
    f.link(width, 0, roles["latent"], "width", "INT")
    f.link(width, 0, roles["latent"], "height", "INT")
    text, reroute = f.node("PrimitiveNode", "a blue ball", outputs=["STRING"]), f.node("Reroute", outputs=["STRING"])
    f.link(text, 0, reroute, "", "*")
    f.link(reroute, 0, roles["good"], "text", "STRING")
    chosen = f.node("PrimitiveNode", "heun", "fixed", "", outputs=["COMBO"])
    f.link(chosen, 0, roles["k"], "sampler_name", "COMBO")
    return f.document()


def widgets_as_inputs() -> dict[str, Any]:
    f = UiFile()
    roles = sampling(f)
    f.save(roles["decode"])
    seed = f.node("PrimitiveInt", 99, "fixed", outputs=["INT"])
    text = f.node("PrimitiveString", "from a node", outputs=["STRING"])
    f.link(seed, 0, roles["k"], "seed", "INT")
    f.link(text, 0, roles["bad"], "text", "STRING")
    return f.document()


def _lora(f: UiFile, roles: dict[str, int], mode: int) -> None:
    lora = f.node("LoraLoader", "l.safetensors", 1, 1, outputs=["MODEL", "CLIP"], mode=mode)
    f.link(roles["ckpt"], 0, lora, "model", "MODEL")
    f.link(roles["ckpt"], 1, lora, "clip", "CLIP")
    second = f.node("KSampler", 1, "fixed", 5, 4, "euler", "normal", 0.5, outputs=["LATENT"])
    text = f.node("CLIPTextEncode", "behind the lora", outputs=["CONDITIONING"])
    f.link(lora, 1, text, "clip", "CLIP")
    f.link(lora, 0, second, "model", "MODEL")
    f.link(text, 0, second, "positive", "CONDITIONING")
    f.link(roles["bad"], 0, second, "negative", "CONDITIONING")
    f.link(roles["k"], 0, second, "latent_image", "LATENT")
    decode = f.node("VAEDecode", outputs=["IMAGE"])
    f.link(second, 0, decode, "samples", "LATENT")
    f.link(roles["ckpt"], 2, decode, "vae", "VAE")
    f.save(decode)


def bypassed() -> dict[str, Any]:
    """Two outputs, each passed on from the input of its type."""
    f = UiFile()
    _lora(f, sampling(f), BYPASSED)
    return f.document()


def muted() -> dict[str, Any]:
    """The links to a muted node are gone, and with them the values of the widgets that were inputs."""
    f = UiFile()
    roles = sampling(f)
    _lora(f, roles, MUTED)
    seed = f.node("PrimitiveInt", 99, "fixed", outputs=["INT"], mode=MUTED)
    f.link(seed, 0, roles["k"], "seed", "INT")
    return f.document()


def bypassed_by_type() -> dict[str, Any]:
    """A mask blend takes two images and a mask; a chain of two; one with no input of the type; one of any type."""
    f = UiFile()
    first, second = f.picture(), f.node("EmptyImage", 32, 32, 1, 255, outputs=["IMAGE"])
    mask = f.node("SolidMask", 1, 64, 64, outputs=["MASK"])
    composite = f.node("ImageCompositeMasked", 0, 0, False, outputs=["IMAGE"], mode=BYPASSED)
    f.link(first, 0, composite, "destination", "IMAGE")
    f.link(second, 0, composite, "source", "IMAGE")
    f.link(mask, 0, composite, "mask", "MASK")
    invert = f.node("ImageInvert", outputs=["IMAGE"], mode=BYPASSED)
    f.link(composite, 0, invert, "image", "IMAGE")
    f.save(invert)
    to_image = f.node("MaskToImage", outputs=["IMAGE"], mode=BYPASSED)
    f.link(mask, 0, to_image, "mask", "MASK")
    f.save(to_image)
    batch = f.node("ImageBatch", outputs=["IMAGE"], mode=BYPASSED)
    f.link(second, 0, batch, "image2", "IMAGE")
    f.save(batch)
    any_type = f.node("PreviewAny")
    f.link(composite, 0, any_type, "source", "*")
    return f.document()


def bypassed_pair() -> dict[str, Any]:
    """Two outputs of one type: each is the input at its place, not the first of the type."""
    f = UiFile()
    roles = sampling(f)
    control = f.node("ControlNetApplyAdvanced", 1, 0, 1, outputs=["CONDITIONING", "CONDITIONING"], mode=BYPASSED)
    for slot, (origin, name) in enumerate((("good", "positive"), ("bad", "negative"))):
        f.link(roles[origin], 0, control, name, "CONDITIONING")
        socket = next(each for each in f.nodes[roles["k"] - 1]["inputs"] if each["name"] == name)
        link = next(each for each in f.links if each["id"] == socket["link"])
        link |= {"origin_id": control, "origin_slot": slot}
    f.save(roles["decode"])
    return f.document()


def titles() -> dict[str, Any]:
    f = UiFile()
    f.save(f.picture(title="Ein leeres Bild 🎈"), title="")
    return f.document()


def uploads() -> dict[str, Any]:
    f = UiFile()
    image = f.node("LoadImage", "a.png", "image", outputs=["IMAGE", "MASK"])
    mask = f.node("LoadImageMask", "m.png", "red", "image", outputs=["MASK"])
    composite = f.node("ImageCompositeMasked", 3, 4, True, outputs=["IMAGE"])
    f.link(image, 0, composite, "destination", "IMAGE")
    f.link(image, 0, composite, "source", "IMAGE")
    f.link(mask, 0, composite, "mask", "MASK")
    f.save(composite)
    return f.document()


def fewer_values() -> dict[str, Any]:
    """The class has more widgets than when the file was saved."""
    f = UiFile()
    image = f.node("EmptyImage", 64, 32, outputs=["IMAGE"])
    f.save(image)
    return f.document()


def forced_inputs() -> dict[str, Any]:
    """Older editors saved the values of inputs that are only linked."""
    f = UiFile()
    hooks = f.node("CreateHookKeyframesFromFloats", -1, 0.25, 0.75, True, outputs=["HOOK_KEYFRAMES"])
    f.node("PreviewAny")
    f.link(hooks, 0, 2, "source", "*")
    return f.document()


def comments_in_texts() -> dict[str, Any]:
    f = UiFile()
    roles = sampling(f)
    f.nodes[1]["widgets_values"] = ["a red ball // not now\nand a cat /* two\nlines */ on a mat, \\(soft:1.2\\)"]
    f.save(roles["decode"])
    return f.document()


def _blur(*, first: int = 10, subgraph_id: str = OUTER) -> Subgraph:
    """An image in, a blurred image out; radius and sigma are inputs too."""
    inputs = [("image", "IMAGE"), ("blur_radius", "INT"), ("sigma", "FLOAT")]
    s = Subgraph(subgraph_id, inputs=inputs, outputs=[("IMAGE", "IMAGE")], first=first)
    blur = s.node("ImageBlur", 3, 1.5, outputs=["IMAGE"])
    s.enter("image", blur, "image")
    s.enter("blur_radius", blur, "blur_radius")
    s.enter("sigma", blur, "sigma")
    s.leave(blur, 0, "IMAGE")
    return s


def subgraph() -> dict[str, Any]:
    """Two uses: one with the values of its own widgets, one with those inside; one input is linked outside."""
    f = UiFile()
    picture = f.picture()
    for values in ((5, 0.5), ()):
        host = f.node(OUTER, *values, outputs=["IMAGE"], title="Blur")
        f.link(picture, 0, host, "image", "IMAGE")
        f.save(host)
    radius = f.node("PrimitiveInt", 9, "fixed", outputs=["INT"])
    f.link(radius, 0, 2, "blur_radius", "INT")
    return f.document(_blur())


def nested_subgraphs() -> dict[str, Any]:
    outer = Subgraph(OUTER, inputs=[("image", "IMAGE"), ("sigma", "FLOAT")], outputs=[("IMAGE", "IMAGE")], first=20)
    host = outer.node(INNER, 4, 0.25, outputs=["IMAGE"])
    outer.enter("image", host, "image")
    outer.enter("sigma", host, "sigma")
    invert = outer.node("ImageInvert", outputs=["IMAGE"])
    outer.link(host, 0, invert, "image", "IMAGE")
    outer.leave(invert, 0, "IMAGE")
    f = UiFile()
    picture = f.picture()
    use = f.node(OUTER, 0.75, outputs=["IMAGE"])
    f.link(picture, 0, use, "image", "IMAGE")
    f.save(use)
    return f.document(_blur(first=30, subgraph_id=INNER), outer)


def proxy_widgets() -> dict[str, Any]:
    """As the editor saved promoted widgets from 1.28 to 1.48: by input, by node, and one that no input leads to."""
    s = Subgraph(OUTER, inputs=[("image", "IMAGE"), ("sigma", "FLOAT")], outputs=[("IMAGE", "IMAGE")])
    blur = s.node("ImageBlur", 3, 1.5, outputs=["IMAGE"])
    s.enter("image", blur, "image")
    s.enter("sigma", blur, "sigma")
    s.leave(blur, 0, "IMAGE")
    f = UiFile()
    picture = f.picture()
    for values in ((7, 0.5), (), (None, 0.125)):
        listed = [[str(blur), "blur_radius"], ["-1", "sigma"]]
        host = f.node(OUTER, *values, outputs=["IMAGE"], properties={"proxyWidgets": listed})
        f.link(picture, 0, host, "image", "IMAGE")
        f.save(host)
    by_node = f.node(OUTER, 2.5, outputs=["IMAGE"], properties={"proxyWidgets": [[str(blur), "sigma"]]})
    f.link(picture, 0, by_node, "image", "IMAGE")
    f.save(by_node)
    return f.document(s)


def switched_off_subgraphs() -> dict[str, Any]:
    """Bypassed and muted uses, and bypassed and muted nodes inside."""
    s = _blur()
    outside = s.nodes[0]["outputs"][0]["links"].pop()
    s.links = [link for link in s.links if link["id"] != outside]
    s.outputs[0]["linkIds"].clear()
    invert = s.node("ImageInvert", outputs=["IMAGE"], mode=BYPASSED)
    s.link(10, 0, invert, "image", "IMAGE")
    s.leave(invert, 0, "IMAGE")
    lost = s.node("EmptyImage", 1, 1, 1, 1, outputs=["IMAGE"], mode=MUTED)
    s.save(lost)
    f = UiFile()
    picture = f.picture()
    for mode in (0, BYPASSED, MUTED):
        host = f.node(OUTER, 5, 0.5, outputs=["IMAGE"], mode=mode)
        f.link(picture, 0, host, "image", "IMAGE")
        f.save(host)
    return f.document(s)


def ids_used_twice() -> dict[str, Any]:
    """Nodes of the workflow and of two subgraphs have the same ids."""
    f = UiFile()
    picture = f.picture()
    for kind in (OUTER, INNER):
        host = f.node(kind, 5, 0.5, outputs=["IMAGE"])
        f.link(picture, 0, host, "image", "IMAGE")
        f.save(host)
    return f.document(_blur(first=1), _blur(first=1, subgraph_id=INNER))


def primitive_in_a_subgraph() -> dict[str, Any]:
    s = Subgraph(OUTER, inputs=[], outputs=[("IMAGE", "IMAGE")])
    image = s.node("EmptyImage", 64, 64, 1, 0, outputs=["IMAGE"])
    size = s.node("PrimitiveNode", 128, "fixed", outputs=["INT"])
    s.link(size, 0, image, "width", "INT")
    s.leave(image, 0, "IMAGE")
    f = UiFile()
    f.save(f.node(OUTER, outputs=["IMAGE"]))
    return f.document(s)


def primitive_into_a_subgraph() -> dict[str, Any]:
    f = UiFile()
    picture = f.picture()
    host = f.node(OUTER, 5, 0.5, outputs=["IMAGE"])
    f.link(picture, 0, host, "image", "IMAGE")
    radius = f.node("PrimitiveNode", 9, "fixed", outputs=["INT"])
    f.link(radius, 0, host, "blur_radius", "INT")
    f.save(host)
    return f.document(_blur())


def get_in_a_subgraph() -> dict[str, Any]:
    s = Subgraph(OUTER, inputs=[], outputs=[("IMAGE", "IMAGE")])
    invert = s.node("ImageInvert", outputs=["IMAGE"])
    s.link(s.node("GetNode", "picture", outputs=["IMAGE"]), 0, invert, "image", "IMAGE")
    s.leave(invert, 0, "IMAGE")
    f = UiFile()
    setter = f.node("SetNode", "picture", outputs=["IMAGE"], properties={"previousName": "picture"})
    f.link(f.picture(), 0, setter, "IMAGE", "IMAGE")
    f.save(f.node(OUTER, outputs=["IMAGE"]))
    return f.document(s)


def set_and_get() -> dict[str, Any]:
    """The pair that KJNodes brings."""
    f = UiFile()
    picture = f.picture()
    setter = f.node("SetNode", "picture", outputs=["IMAGE"], properties={"previousName": "picture"})
    f.link(picture, 0, setter, "IMAGE", "IMAGE")
    f.save(f.node("GetNode", "picture", outputs=["IMAGE"]))
    f.save(setter)
    return f.document()


def ten_features() -> dict[str, Any]:
    """An image of 48 x 32 in #cc9966, through everything that the editor resolves and needs no model for.

    Primitive, reroute, note, seed with its word, widget as input, bypassed, muted, nested subgraphs, promoted widget,
    Set and Get, title; and a prompt text.
    """
    inner = Subgraph(INNER, inputs=[("image", "IMAGE")], outputs=[("IMAGE", "IMAGE")], first=30)
    inverted = inner.node("ImageInvert", outputs=["IMAGE"])
    inner.enter("image", inverted, "image")
    inner.leave(inverted, 0, "IMAGE")
    outer = Subgraph(OUTER, inputs=[("image", "IMAGE"), ("blur_radius", "INT")], outputs=[("IMAGE", "IMAGE")], first=40)
    nested = outer.node(INNER, outputs=["IMAGE"])
    blur = outer.node("ImageBlur", 9, 1, outputs=["IMAGE"])
    outer.enter("image", nested, "image")
    outer.link(nested, 0, blur, "image", "IMAGE")
    outer.enter("blur_radius", blur, "blur_radius")
    outer.leave(blur, 0, "IMAGE")
    f = UiFile()
    image = f.node("EmptyImage", 512, 32, 1, 0x336699, outputs=["IMAGE"])
    f.link(f.node("PrimitiveNode", 48, "fixed", outputs=["INT"]), 0, image, "width", "INT")
    f.node("Note", "48 wide")
    noise = f.node("ImageAddNoise", 7, "randomize", 0, outputs=["IMAGE"])
    f.link(image, 0, noise, "image", "IMAGE")
    f.link(f.node("PrimitiveInt", 99, "fixed", outputs=["INT"]), 0, noise, "seed", "INT")
    off = f.node("ImageInvert", outputs=["IMAGE"], mode=BYPASSED)
    f.link(noise, 0, off, "image", "IMAGE")
    reroute = f.node("Reroute", outputs=["IMAGE"])
    f.link(off, 0, reroute, "", "*")
    f.save(reroute, mode=MUTED)
    setter = f.node("SetNode", "picture", outputs=["IMAGE"], properties={"previousName": "picture"})
    f.link(reroute, 0, setter, "IMAGE", "IMAGE")
    host = f.node(OUTER, 1, outputs=["IMAGE"])
    f.link(f.node("GetNode", "picture", outputs=["IMAGE"]), 0, host, "image", "IMAGE")
    f.save(host, title="The one")
    text = f.node(
        "RegexReplace", "a red house", "red", "blue", True, False, False, 0, outputs=["STRING"], title="Prompt"
    )
    f.link(text, 0, f.node("PreviewAny"), "source", "*")
    return f.document(inner, outer)


def dynamic_inputs() -> dict[str, Any]:
    """Of newer servers: choices that bring inputs of their own, and groups that grow."""
    f = UiFile()
    picture = f.picture()
    for values in (("scale dimensions", 256, 128, "center", "area"), ("scale by multiplier", 2.5, "lanczos")):
        resize = f.node("ResizeImageMaskNode", *values, outputs=["IMAGE"])
        f.link(picture, 0, resize, "input", "IMAGE,MASK")
        f.save(resize)
    width = f.node("PrimitiveInt", 320, "fixed", outputs=["INT"])
    f.link(width, 0, 2, "resize_type.width", "INT")
    batch = f.node("BatchImagesNode", outputs=["IMAGE"])
    for place, origin in enumerate((2, 4, picture)):
        f.link(origin, 0, batch, f"images.image{place}", "IMAGE")
    f.save(batch)
    switch = f.node("ComfySwitchNode", True, outputs=["*"])
    f.link(picture, 0, switch, "on_false", "*")
    f.link(batch, 0, switch, "on_true", "*")
    f.save(switch)
    return f.document()


def options_of_ones_own() -> dict[str, Any]:
    """A node whose options a person writes."""
    f = UiFile()
    f.node("CustomCombo", "high", 1, "low", "high", "", outputs=["STRING", "INT"])
    f.link(1, 0, f.node("PreviewAny", None, None, None), "source", "*")
    return f.document()


def values_that_are_lists() -> dict[str, Any]:
    f = UiFile()
    values = ("a poster", "", "photo", "35mm", "", "", "", ["#ff0000", "#00ff00"])
    f.node("BuildJsonPromptIdeogram", *values, outputs=["STRING"])
    f.node("PreviewAny")
    f.link(1, 0, 2, "source", "*")
    return f.document()


BOTH: tuple[Callable[[], dict[str, Any]], ...] = (
    text_to_image, control_as_boolean, links_as_objects, notes_and_reroutes, primitives, widgets_as_inputs, bypassed,
    muted, bypassed_by_type, bypassed_pair, titles, uploads, fewer_values, forced_inputs, comments_in_texts, subgraph,
    nested_subgraphs, ids_used_twice, set_and_get, get_in_a_subgraph, primitive_into_a_subgraph,
    ten_features,
)  # fmt: skip
"""For every version of the server."""
NEWER: tuple[Callable[[], dict[str, Any]], ...] = (
    dynamic_inputs, values_that_are_lists, options_of_ones_own, proxy_widgets, switched_off_subgraphs,
    primitive_in_a_subgraph,
)  # fmt: skip
"""Of classes that 0.3.64 lacks; or what its editor reads otherwise, because it is older than such files."""


def files_for(version: str) -> tuple[Callable[[], dict[str, Any]], ...]:
    """Those that a version of ComfyUI converts as burst does."""
    return BOTH if version == "0.3.64" else BOTH + NEWER

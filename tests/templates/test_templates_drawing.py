"""The way from the prompt text to what is saved."""

from __future__ import annotations

from support.built_graphs import node, sampler, text_to_image
from support.graphs_by_kind import CASES

from templates import draw, find_bindings, find_candidates


def test_the_first_way_ends_at_the_save_node_and_the_others_where_they_meet_it() -> None:
    graph = text_to_image(pos=node("CLIPTextEncode", text="a house", clip="@ckpt:1", title="Positive Prompt"))
    assert draw(graph, find_bindings(graph)) == [
        ("prompt", 'pos CLIPTextEncode "Positive Prompt" → sampler KSampler → decode VAEDecode → save SaveImage'),
        ("negative", "neg CLIPTextEncode → sampler KSampler"),
        ("model", "ckpt CheckpointLoaderSimple → sampler KSampler"),
    ]


def test_what_may_be_the_prompt_is_drawn_from_each_place() -> None:
    graph = CASES["texts: two texts in one conditioning"].graph
    lines = draw(graph, find_bindings(graph), find_candidates(graph))
    assert lines[:2] == [
        (
            "prompt?",
            "other CLIPTextEncode → both ConditioningConcat → sampler KSampler → decode VAEDecode → save SaveImage",
        ),
        ("prompt?", "pos CLIPTextEncode → both ConditioningConcat"),
    ]


def test_a_long_way_is_shortened() -> None:
    reroutes = {f"r{number}": node("Reroute", **{"in": f"@r{number - 1}"}) for number in range(1, 20)}
    graph = text_to_image(r0=node("Reroute", **{"in": "@pos"}), **reroutes, sampler=sampler(positive="@r19"))
    (_, way), *_ = draw(graph, find_bindings(graph))
    assert way == (
        "pos CLIPTextEncode → r0 Reroute → r1 Reroute → r2 Reroute → (16 more) → r19 Reroute → sampler KSampler"
        " → decode VAEDecode → save SaveImage"
    )


def test_a_graph_in_a_circle_and_one_that_saves_nothing() -> None:
    graph = {
        "a": node("CLIPTextEncode", text="x", clip="@b"),
        "b": node("Other", text="@a"),
    }
    found = find_candidates(graph)
    assert draw(graph, find_bindings(graph), found) is not None
    assert draw({}, {}) == []

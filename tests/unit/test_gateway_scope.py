"""Where the outputs come from that a part of a workflow needs of the rest: what sources hold now, before what was."""

import pytest

from gateway.domain.scope import current_output, with_current_sources, with_earlier_outputs
from shared.contracts.errors import InvalidInputError
from shared.contracts.graph import Edge, Node, WorkflowGraph
from shared.contracts.run_options import Scope
from shared.contracts.scopes import Selection
from shared.contracts.values import AssetRef, ImageValue, RecordValue, TextValue

PICTURE = ImageValue(asset=AssetRef(key="images/ab/x.png", media_type="image/png", size=9, width=3, height=2))
OTHER = PICTURE.model_copy(update={"asset": PICTURE.asset.model_copy(update={"key": "images/cd/y.png"})})
ASSET = PICTURE.asset.model_dump(mode="json")
A, B = TextValue(text="a"), TextValue(text="b")


def field(name, **more):
    return {"name": name, **more}


def node(node_type, **params):
    return Node(id="s", type=node_type, params=params)


@pytest.mark.parametrize(
    ("source", "inputs", "output"),
    [
        (node("text", text="a"), {}, A),
        (node("text", text="a"), {"s": B}, B),
        (node("text"), {}, None),
        (node("text"), {"s": TextValue(text="")}, TextValue(text="")),
        (node("upload_image"), {}, None),
        (node("upload_image", asset=ASSET), {}, PICTURE),
        (node("upload_image", asset=ASSET), {"s": OTHER}, OTHER),
        (node("upload_image", imageUrl="https://example.org/old.png"), {}, None),
        (node("request_inputs", fields=[field("tone")]), {}, None),
        (node("request_inputs", fields=[field("tone")]), {"tone": A}, RecordValue(fields={"tone": A})),
        (node("request_inputs", fields=[field("tone", default="a")]), {}, RecordValue(fields={"tone": A})),
        (node("request_inputs", fields=[field("tone", required=False)]), {}, RecordValue(fields={})),
        (node("request_inputs", fields=[field("tone"), field("size", default="b")]), {"size": A}, None),
        (node("response"), {}, None),
        (node("llm", userMessage="?"), {"s": A}, None),
    ],
)
def test_what_a_source_holds_now(source, inputs, output):
    assert current_output(source, inputs) == output


GRAPH = WorkflowGraph(
    nodes=(
        Node(id="photo", type="upload_image"),
        Node(id="tone", type="text", params={"text": "a"}),
        Node(id="asked", type="request_inputs", params={"fields": [field("style"), field("size", required=False)]}),
        Node(id="crop", type="crop_image"),
        Node(id="ask", type="llm", params={"userMessage": "?"}),
        Node(id="out", type="response"),
    ),
    edges=(
        Edge(source="photo", target="crop", target_handle="image"),
        Edge(source="crop", target="ask", target_handle="images"),
        Edge(source="tone", target="ask", target_handle="system_prompt"),
        Edge(source="asked", source_handle="style", target="ask", target_handle="texts"),
        Edge(source="ask", target="out", target_handle="answer"),
    ),
)
ASK = Selection(Scope.SINGLE, ("ask",))


def test_sources_are_given_as_they_are_now():
    selection = with_current_sources(GRAPH, {"style": B}, ASK)
    assert selection.given == {"tone": A, "asked": RecordValue(fields={"style": B})}
    assert selection.lacking(GRAPH) == ("crop",)


def test_a_source_that_holds_nothing_is_looked_for_in_earlier_runs():
    assert with_current_sources(GRAPH, {}, ASK).lacking(GRAPH) == ("asked", "crop")


def test_a_source_that_was_supplied_in_part_is_asked_for_the_rest():
    with pytest.raises(InvalidInputError) as caught:
        with_current_sources(GRAPH, {"size": B}, ASK)
    assert [(problem.code, problem.where) for problem in caught.value.problems] == [("missing_input", "inputs.style")]


def test_what_is_pinned_comes_first():
    pinned = Selection(Scope.SINGLE, ("ask",), {"tone": B, "crop": OTHER})
    selection = with_current_sources(GRAPH, {"style": A}, pinned)
    selection = with_earlier_outputs(GRAPH, selection, {"tone": A, "crop": PICTURE})
    assert selection.given == {"tone": B, "crop": OTHER, "asked": RecordValue(fields={"style": A})}


def test_earlier_outputs_fill_what_is_lacking_and_nothing_else():
    current = with_current_sources(GRAPH, {"style": A}, ASK)
    selection = with_earlier_outputs(GRAPH, current, {"crop": PICTURE, "tone": B, "photo": OTHER})
    assert selection.given == {**(current.given or {}), "crop": PICTURE}
    assert selection.lacking(GRAPH) == ()


def test_an_earlier_output_of_another_type_is_none():
    current = with_current_sources(GRAPH, {"style": A}, ASK)
    assert with_earlier_outputs(GRAPH, current, {"crop": A}).lacking(GRAPH) == ("crop",)


def test_a_full_run_lacks_nothing():
    assert with_current_sources(GRAPH, {}, Selection()) == Selection(given={})

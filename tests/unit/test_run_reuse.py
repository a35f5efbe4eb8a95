"""Earlier outputs that are reused, and what they are found by: the pure core."""

from pydantic import JsonValue
from tests.unit.core import NOW, Core, ask, job, started

from orchestrator.domain.cache import cache_key
from shared.contracts.commands import (
    NodeExecute,
)
from shared.contracts.events import (
    NodeSucceeded,
    RunStarted,
)
from shared.contracts.graph import Edge, Node, WorkflowGraph
from shared.contracts.run_options import RunOptions


def options(**fields):
    return RunOptions(**fields)


def cropped(node_id, **fields):
    return Node(id=node_id, type="crop_image", params={"width": 50}, **fields)


PICTURE: JsonValue = {"key": "sha256/1", "mediaType": "image/png", "size": 1, "width": 4, "height": 4}
CROPS = WorkflowGraph(
    nodes=(Node(id="photo", type="upload_image", params={"asset": PICTURE}), cropped("a"), cropped("b"), ask("c")),
    edges=(
        Edge(source="photo", target="a", target_handle="image"),
        Edge(source="a", target="b", target_handle="image"),
        Edge(source="b", target="c", target_handle="images"),
    ),
)


def picture_of(core):
    output = core.state.nodes["photo"].output
    assert output
    return output


def test_a_known_output_is_reused_and_what_follows_goes_on_at_once():
    probe = started(CROPS)
    key = cache_key(probe.state, "a")
    assert key
    core = Core(CROPS)
    delivered = core.deliver(core.command, cached={key: picture_of(probe)})
    # The reused output has the same content as the photo, so the second crop of it is found by the same key.
    assert core.jobs() == ["c"]
    assert [node.node_id for node in delivered.of(RunStarted)[0].nodes if node.cached] == ["a", "b"]
    assert core.replayed() == core.state
    again = core.deliver(core.command)
    assert (again.event, again.messages) == (None, delivered.messages)


def test_an_output_that_is_reused_in_the_middle_of_a_run_is_told():
    core = started(CROPS)
    first = job(core, "a")
    result = NodeSucceeded(**first.about, at=NOW, output=picture_of(core))
    key = cache_key(core.state, "a")
    delivered = core.deliver(result, cached={key: picture_of(core)})
    assert [(told.node_id, told.cached) for told in delivered.of(NodeSucceeded)] == [("b", True)]
    assert [told.node_id for told in delivered.of(NodeExecute)] == ["c"]
    assert core.deliver(result).messages == delivered.messages


def test_the_key_depends_on_content_alone():
    core = started(CROPS)
    renamed = CROPS.model_copy(
        update={
            "nodes": (CROPS.nodes[0].model_copy(update={"name": "another name"}), *CROPS.nodes[1:]),
        }
    )
    assert cache_key(started(renamed).state, "a") == cache_key(core.state, "a")
    wider = CROPS.model_copy(
        update={"nodes": (CROPS.nodes[0], Node(id="a", type="crop_image", params={"width": 60}), *CROPS.nodes[2:])}
    )
    assert cache_key(started(wider).state, "a") != cache_key(core.state, "a")


def test_models_are_asked_anew_unless_a_node_says_otherwise_and_so_is_all_without_a_cache():
    named: dict[str, JsonValue] = {"userMessage": "?", "model": "m"}
    graph = WorkflowGraph(
        nodes=(ask("a"), Node(id="b", type="llm", params=named, cache=True), cropped("c", cache=False))
    )
    state = started(graph.model_copy(update={"nodes": graph.nodes[:2]})).state
    assert cache_key(state, "a") is None
    assert cache_key(state, "b")
    assert cache_key(started(CROPS, options=options(use_cache=False)).state, "a") is None


# Starts

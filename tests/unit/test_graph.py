"""Reading graphs: today's shape, React Flow's, and the predecessor's."""

import pytest

from shared.contracts.errors import InvalidInputError
from shared.contracts.graph import read_graph
from shared.contracts.validation import find_problems

PREDECESSOR = {
    "nodes": [
        {
            "id": "node-1",
            "type": "uploadImage",
            "position": {"x": 10, "y": 20.5},
            "data": {"label": "Photo", "imageUrl": "https://example.com/cat.png", "status": "idle", "output": None},
            "measured": {"width": 240, "height": 180},
        },
        {
            "id": "node-2",
            "type": "cropImage",
            "position": {"x": 300, "y": 20},
            "data": {"xPercent": 10, "yPercent": 0, "widthPercent": 50, "heightPercent": 100, "isRunning": False},
        },
        {"id": "node-3", "type": "text", "position": {"x": 0, "y": 0}, "data": {"text": "Answer in one word."}},
        {
            "id": "node-4",
            "type": "llm",
            "position": {"x": 600, "y": 0},
            "data": {"model": "gemini-2.5-flash", "systemPrompt": "", "userMessage": "What is it?", "response": None},
        },
    ],
    "edges": [
        {"id": "e1", "source": "node-1", "target": "node-2", "sourceHandle": None, "targetHandle": "image_url"},
        {"id": "e2", "source": "node-2", "target": "node-4", "sourceHandle": "output", "targetHandle": "images"},
        {"id": "e3", "source": "node-3", "target": "node-4", "targetHandle": "system_prompt", "animated": True},
    ],
    "viewport": {"x": 0, "y": 0, "zoom": 1},
}


def test_the_predecessors_graph_is_read_into_todays_names():
    graph = read_graph(PREDECESSOR)
    assert find_problems(graph) == []
    upload, crop, _, llm = graph.nodes
    assert (upload.type, upload.label) == ("upload_image", "Photo")
    assert upload.params == {"imageUrl": "https://example.com/cat.png"}
    assert crop.params == {"x": 10, "y": 0, "width": 50, "height": 100}
    assert llm.params == {"model": "gemini-2.5-flash", "systemPrompt": "", "userMessage": "What is it?"}
    assert [edge.target_handle for edge in graph.edges] == ["image", "images", "system_prompt"]
    assert {edge.source_handle for edge in graph.edges} == {"output"}


def test_reading_what_was_written_changes_nothing():
    graph = read_graph(PREDECESSOR)
    assert read_graph(graph.model_dump(mode="json")) == graph


def test_positions_and_edge_ids_are_kept_for_the_canvas():
    graph = read_graph(PREDECESSOR)
    assert graph.nodes[0].position is not None
    assert graph.nodes[0].position.y == 20.5
    assert [edge.id for edge in graph.edges] == ["e1", "e2", "e3"]


@pytest.mark.parametrize(
    ("raw", "where"),
    [
        (None, "workflow"),
        ([], "workflow"),
        ({"edges": []}, "nodes"),
        ({"nodes": [{"type": "text"}]}, "nodes.0.id"),
        ({"nodes": [3]}, "nodes.0"),
        ({"nodes": [], "edges": [{"target": "x"}]}, "edges.0.source"),
    ],
)
def test_a_wrong_shape_is_named_with_its_place(raw, where):
    with pytest.raises(InvalidInputError) as raised:
        read_graph(raw)
    assert raised.value.code == "invalid_workflow"
    assert where in {problem.where for problem in raised.value.problems}

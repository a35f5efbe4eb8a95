"""Validation names every problem of a graph at once, with the node it concerns."""

import pytest

from shared.contracts.errors import InvalidInputError
from shared.contracts.graph import MAX_NODES, Node, WorkflowGraph, read_graph
from shared.contracts.validation import ensure_startable, find_problems, find_start_problems
from shared.contracts.values import AssetRef, ImageValue, TextValue

PICTURE = ImageValue(asset=AssetRef(key="images/aa/aa.jpg", media_type="image/jpeg", size=1, width=1, height=1))


def graph(nodes, edges=()):
    return read_graph({"nodes": list(nodes), "edges": list(edges)})


def edge(source, target, target_handle, source_handle="output"):
    return {"source": source, "sourceHandle": source_handle, "target": target, "targetHandle": target_handle}


UPLOAD = {"id": "photo", "type": "upload_image"}
CROP = {"id": "crop", "type": "crop_image"}
ASK = {"id": "ask", "type": "llm", "params": {"userMessage": "What is this?"}}
SOUND = graph([UPLOAD, CROP, ASK], [edge("photo", "crop", "image"), edge("crop", "ask", "images")])


def codes(problems):
    return sorted(problem.code for problem in problems)


def only(problems):
    (problem,) = problems
    return problem


def test_a_sound_graph_has_no_problems():
    assert find_problems(SOUND) == []
    ensure_startable(SOUND, {"photo": PICTURE})


def test_all_problems_are_reported_at_once_with_their_nodes():
    broken = graph(
        [
            UPLOAD,
            {"id": "twin", "type": "text"},
            {"id": "twin", "type": "text"},
            {"id": "odd", "type": "sharpen"},
            {"id": "thin", "type": "crop_image", "params": {"width": 0}},
            {"id": "a", "type": "crop_image"},
            {"id": "b", "type": "crop_image"},
            {"id": "mute", "type": "llm"},
        ],
        [
            edge("photo", "mute", "system_prompt"),
            edge("photo", "mute", "ears"),
            edge("photo", "nowhere", "image"),
            edge("a", "b", "image"),
            edge("b", "a", "image"),
        ],
    )
    problems = find_problems(broken)
    assert {(problem.code, problem.node_id) for problem in problems} == {
        ("duplicate_id", "twin"),
        ("unknown_type", "odd"),
        ("invalid_params", "thin"),
        ("type_mismatch", "mute"),
        ("unknown_handle", "mute"),
        ("unknown_node", "nowhere"),
        ("missing_input", "thin"),
        ("missing_input", "mute"),
        ("cycle", "a"),
    }


def test_a_type_mismatch_names_the_edge_and_both_types():
    problem = only(
        find_problems(
            graph([{"id": "t", "type": "text"}, CROP], [edge("t", "crop", "image")]),
        )
    )
    assert problem.code == "type_mismatch"
    assert problem.where == "edge t.output -> crop.image"
    assert "image is expected, but t gives text" in problem.message


def test_an_unknown_source_handle_lists_the_known_ones():
    problems = find_problems(graph([UPLOAD, CROP], [edge("photo", "crop", "image", source_handle="picture")]))
    assert only(problems).fix == "known handles: output"


def test_two_edges_into_a_single_handle_are_refused_and_into_a_multiple_one_are_not():
    nodes = [UPLOAD, {"id": "other", "type": "upload_image"}, CROP, ASK]
    edges = [
        edge("photo", "crop", "image"),
        edge("other", "crop", "image"),
        edge("photo", "ask", "images"),
        edge("other", "ask", "images"),
    ]
    assert codes(find_problems(graph(nodes, edges))) == ["duplicate_input"]


def test_every_separate_cycle_is_reported():
    nodes = [{"id": name, "type": "crop_image"} for name in "abcdef"]
    edges = [edge(source, target, "image") for source, target in ("ab", "ba", "cd", "de", "ec", "ff")]
    assert codes(find_problems(graph(nodes, edges))) == ["cycle", "cycle", "cycle"]


def test_too_many_nodes_are_refused():
    nodes = tuple(Node(id=str(number), type="text") for number in range(MAX_NODES + 1))
    assert only(find_problems(WorkflowGraph(nodes=nodes))).code == "too_many_nodes"


def test_a_graph_without_nodes_is_refused():
    assert only(find_problems(graph([]))).code == "no_nodes"


@pytest.mark.parametrize("params", [{"width": 60, "x": 50}, {"height": -1}, {"unit": "inch"}, {"widht": 50}])
def test_impossible_crops_and_misspelt_params_are_refused(params):
    problems = find_problems(graph([UPLOAD, {**CROP, "params": params}], [edge("photo", "crop", "image")]))
    assert codes(problems) == ["invalid_params"]


def test_starting_needs_what_the_graph_asks_for():
    problem = only(find_start_problems(SOUND, {}))
    assert (problem.code, problem.node_id, problem.where) == ("missing_input", "photo", "inputs.photo")


def test_inputs_that_nobody_asked_for_are_refused_and_the_asked_ones_listed():
    problems = find_start_problems(SOUND, {"photo": PICTURE, "foto": PICTURE})
    assert only(problems).code == "unknown_input"
    assert only(problems).fix == "it asks for: photo"


def test_inputs_of_the_wrong_type_are_refused():
    assert codes(find_start_problems(SOUND, {"photo": TextValue(text="no picture")})) == ["type_mismatch"]


def test_required_request_fields_must_be_supplied_unless_they_have_a_default():
    fields = [{"name": "question"}, {"name": "tone", "default": "dry"}, {"name": "hint", "required": False}]
    asking = graph([{"id": "form", "type": "request_inputs", "params": {"fields": fields}}])
    assert [problem.where for problem in find_start_problems(asking, {})] == ["inputs.question"]
    assert find_start_problems(asking, {"question": TextValue(text="?")}) == []


def test_an_address_is_never_fetched():
    old = graph([{"id": "photo", "type": "uploadImage", "data": {"imageUrl": "http://10.0.0.1/cat.png"}}])
    assert find_problems(old) == []
    assert codes(find_start_problems(old, {})) == ["url_not_allowed"]
    assert find_start_problems(old, {"photo": PICTURE}) == []


def test_ensure_startable_raises_all_problems():
    with pytest.raises(InvalidInputError) as raised:
        ensure_startable(SOUND, {"foto": PICTURE})
    assert codes(raised.value.problems) == ["missing_input", "unknown_input"]

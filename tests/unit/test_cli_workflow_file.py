"""Workflow files and inputs from the command line: what is read, and what is told about what cannot be."""

import json
from pathlib import Path

import pytest
from PIL import Image

from cli.runner import RunRequest
from cli.workflow_file import read_workflow, workflow_id
from shared.contracts.errors import InvalidInputError
from shared.contracts.values import MAX_PICTURE_BYTES, TextValue

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "workflow.json"
TEXT_AND_PHOTO = {
    "nodes": [{"id": "photo", "type": "upload_image"}, {"id": "question", "type": "text", "params": {"text": "what?"}}],
    "edges": [],
}


def problems_of(action, *arguments):
    with pytest.raises(InvalidInputError) as caught:
        action(*arguments)
    return caught.value.problems


def write(folder, content):
    path = folder / "flow.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.fixture
def flow(tmp_path):
    return write(tmp_path, TEXT_AND_PHOTO)


@pytest.fixture
def graph(flow):
    return read_workflow(flow)


def read_inputs(flow, images, texts):
    return RunRequest.read(flow, images=images, texts=texts).inputs


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.new("RGB", (3, 2)).save(path)
    return path


def test_the_example_is_sound_and_drawn_without_overlap():
    graph = read_workflow(EXAMPLE)
    places = [(node.position.x, node.position.y) for node in graph.nodes if node.position]
    assert len(set(places)) == len(graph.nodes) == 9
    assert all(node.name for node in graph.nodes)
    assert sum(node.type == "llm" for node in graph.nodes) == 4


def test_a_graph_of_the_predecessor_is_read(tmp_path):
    old = {
        "nodes": [
            {"id": "u", "type": "uploadImage", "data": {"imageUrl": None}},
            {"id": "c", "type": "cropImage", "data": {"xPercent": 10, "widthPercent": 50}},
        ],
        "edges": [{"source": "u", "target": "c", "sourceHandle": "output", "targetHandle": "image_url"}],
    }
    graph = read_workflow(write(tmp_path, old))
    assert [node.type for node in graph.nodes] == ["upload_image", "crop_image"]


def test_a_workflow_without_a_name_is_called_like_its_file(graph):
    assert graph.name == "flow"


@pytest.mark.parametrize(
    ("content", "code"),
    [("{not json", "invalid_json"), ("[1, 2]", "invalid_workflow"), ('{"nodes": 3}', "invalid_workflow")],
)
def test_a_broken_file_is_named_with_what_is_wrong(tmp_path, content, code):
    path = write(tmp_path, content)
    problem, *_ = problems_of(read_workflow, path)
    assert problem.code == code
    assert str(path) in (problem.where or "")
    assert problem.fix


def test_bytes_that_are_no_text_are_no_json(tmp_path):
    path = tmp_path / "flow.json"
    path.write_bytes(b"\xff\xfe\x00\x01")
    assert problems_of(read_workflow, path)[0].code == "invalid_json"


@pytest.mark.parametrize("name", ["absent.json", "."])
def test_what_is_no_file_cannot_be_read(tmp_path, name):
    assert problems_of(read_workflow, tmp_path / name)[0].code == "file_unreadable"


def test_all_problems_are_told_at_once(tmp_path):
    nodes = [{"id": "a", "type": "teleport"}, {"id": "b", "type": "crop_image", "params": {"width": 0}}]
    edges = [{"source": "a", "target": "nowhere", "targetHandle": "image"}]
    problems = problems_of(read_workflow, write(tmp_path, {"nodes": nodes, "edges": edges}))
    assert {problem.code for problem in problems} >= {"unknown_type", "invalid_params", "unknown_node"}


def test_the_id_depends_on_content_not_on_layout(tmp_path, graph):
    reordered = {"edges": [], "nodes": [dict(reversed(node.items())) for node in TEXT_AND_PHOTO["nodes"]]}
    path = tmp_path / "flow.json"
    path.write_text(json.dumps(reordered, indent=8))
    assert workflow_id(read_workflow(path)) == workflow_id(graph)
    path.write_text(json.dumps(TEXT_AND_PHOTO).replace("what?", "why?"))
    assert workflow_id(read_workflow(path)) != workflow_id(graph)


def test_inputs_are_read_by_name(flow, photo):
    inputs = read_inputs(flow, [f"photo={photo}"], ["question=a=b"])
    assert inputs.pictures["photo"].data == photo.read_bytes()
    assert inputs.pictures["photo"].media_type == "image/png"
    assert inputs.values == {"question": TextValue(text="a=b")}


def test_an_unknown_name_says_which_are_asked_for(flow, photo):
    (problem,) = problems_of(read_inputs, flow, [f"photo={photo}", f"picture={photo}"], [])
    assert problem.code == "unknown_input"
    assert problem.fix == "it asks for: photo, question"


@pytest.mark.parametrize("option", ["photo.png", "=photo.png"])
def test_an_option_without_a_name_says_how_it_is_written(flow, option):
    problem = problems_of(read_inputs, flow, [option], [])[0]
    assert (problem.code, problem.where, problem.fix) == ("invalid_option", "--image", "write --image NAME=FILE")


def test_an_input_supplied_twice_is_refused(flow, photo):
    (problem,) = problems_of(read_inputs, flow, [f"photo={photo}"] * 2, [])
    assert problem.code == "invalid_option"
    problems = problems_of(read_inputs, flow, [f"photo={photo}"], ["photo=x"])
    assert "invalid_option" in {problem.code for problem in problems}


def test_a_text_for_a_picture_is_refused(flow):
    assert problems_of(read_inputs, flow, [], ["photo=x"])[0].code == "type_mismatch"


def test_a_picture_that_is_missing_from_the_command_is_asked_for(flow):
    (problem,) = problems_of(read_inputs, flow, [], [])
    assert problem.code == "missing_input"
    assert "--image photo=" in (problem.fix or "")


def test_files_that_are_no_pictures_are_named(flow, tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("no picture")
    (problem,) = problems_of(read_inputs, flow, [f"photo={text}"], [])
    assert (problem.code, problem.where) == ("unsupported_format", f"--image photo={text}")
    (problem,) = problems_of(read_inputs, flow, [f"photo={tmp_path / 'absent.jpg'}"], [])
    assert problem.code == "file_unreadable"


def test_a_file_over_the_limit_is_not_read(flow, tmp_path):
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(MAX_PICTURE_BYTES + 1)
    assert problems_of(read_inputs, flow, [f"photo={path}"], [])[0].code == "file_too_large"

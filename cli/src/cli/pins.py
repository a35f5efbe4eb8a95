"""Outputs of nodes from the command line: `--pin node=...`, so that these nodes are not executed."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from cli.inputs import Supplied, read_pairs
from cli.workflow_file import read_file
from shared.contracts.errors import Problem, WeftError, invalid
from shared.contracts.graph import Node, WorkflowGraph
from shared.contracts.node_types import REGISTRY
from shared.contracts.values import TextValue, Value, ValueType

OPTION = "--pin"
FORM = "NODE=FILE.json, NODE=TEXT, or NODE=PICTURE"

_read_value = TypeAdapter[Value](Value).validate_json


def read_pins(graph: WorkflowGraph, options: Sequence[str], problems: list[Problem]) -> Supplied:
    """Return the outputs that the options pin; what is wrong with an option is added to the problems.

    A file that is called `.json` holds the value as the API shows it. Else it depends on what the node gives: a text is
    the text itself, a picture is a file.
    """
    nodes = {node.id: node for node in graph.nodes}
    contents = read_pairs(OPTION, FORM, options, problems)
    problems += (_unknown(name, nodes) for name in contents if name not in nodes)
    known = {name: content for name, content in contents.items() if name in nodes}
    pictures = {name: content for name, content in known.items() if _is_picture(nodes[name], content)}
    values: dict[str, Value] = {}
    for name in known.keys() - pictures.keys():
        try:
            values[name] = _value(nodes[name], known[name])
        except WeftError as err:
            problems.extend(err.problems)
    return Supplied(OPTION, pictures, values)


def _is_picture(node: Node, content: str) -> bool:
    return REGISTRY[node.type].output is ValueType.IMAGE and not _is_json(content)


def _is_json(content: str) -> bool:
    return content.endswith(".json")


def _value(node: Node, content: str) -> Value:
    where = f"{OPTION} {node.id}={content}"
    if _is_json(content):
        return _read_json(Path(content), where=where)
    if REGISTRY[node.type].output is ValueType.TEXT:
        return TextValue(text=content)
    raise invalid(
        "invalid_option",
        f"the output of a node of type {node.type} cannot be written as a text",
        where=where,
        fix=f"put the output into a file, as `weft runs get -o json` shows it, and write {OPTION} {node.id}=FILE.json",
    )


def _read_json(path: Path, *, where: str) -> Value:
    try:
        return _read_value(read_file(path, where=where))
    except ValidationError as err:
        raise invalid(
            "invalid_value",
            f"the file does not hold an output: {err.errors(include_url=False)[0]['msg']}",
            where=where,
            fix='write, for instance, {"type": "text", "text": "..."}',
        ) from err


def _unknown(name: str, nodes: Mapping[str, Node]) -> Problem:
    return Problem(
        code="unknown_node",
        message=f"there is no node {name!r}",
        where=OPTION,
        node_id=name,
        fix=f"the workflow has: {', '.join(nodes)}",
    )

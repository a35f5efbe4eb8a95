"""Workflows as files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid5

from shared.contracts.errors import InvalidInputError, Problem, WeftError, invalid
from shared.contracts.graph import WorkflowGraph, read_graph
from shared.contracts.validation import find_problems

# Names the space of workflow ids that are made from content; any fixed UUID does.
_CONTENT_IDS = UUID("0c3a6f7e-5d0b-4c52-9a86-51d5f60e4d4a")


def read_workflow(path: Path) -> WorkflowGraph:
    """Return the sound workflow in a JSON file: a graph of today's shape, or of the predecessor's.

    Raises InvalidInputError with every problem: `file_unreadable`, `invalid_json`, `invalid_workflow`, or what
    validation finds; each names the file.
    """
    raw = _read_json(path)
    try:
        graph = read_graph(raw)
        if problems := find_problems(graph):
            raise InvalidInputError(*problems)
    except WeftError as err:
        raise InvalidInputError(*(_in_file(problem, path) for problem in err.problems)) from err
    return graph if graph.name else graph.model_copy(update={"name": path.stem})


def read_raw_workflow(path: Path) -> Mapping[str, Any]:
    """Return the JSON object in a file; raise `file_unreadable`, `invalid_json` or `invalid_workflow`."""
    raw = _read_json(path)
    if not isinstance(raw, dict):
        raise invalid(
            "invalid_workflow",
            "the file holds no JSON object",
            where=str(path),
            fix="a workflow is a JSON object with `nodes` and `edges`",
        )
    return cast("dict[str, Any]", raw)


def workflow_id(graph: WorkflowGraph) -> UUID:
    """Return an id that is the same for the same content, however the file is laid out."""
    content = json.dumps(graph.model_dump(mode="json", exclude_none=True), sort_keys=True, separators=(",", ":"))
    return uuid5(_CONTENT_IDS, content)


def read_file(path: Path, *, where: str) -> bytes:
    """Return the content of a regular file; raise InvalidInputError `file_unreadable`."""
    try:
        if not path.is_file():
            raise FileNotFoundError(0, "there is no such file" if not path.exists() else "it is not a file")
        return path.read_bytes()
    except OSError as err:
        raise invalid(
            "file_unreadable", f"cannot read {path}: {err.strerror}", where=where, fix="name a file that can be read"
        ) from err


def _read_json(path: Path) -> Any:
    content = read_file(path, where=str(path))
    try:
        return json.loads(content)
    except json.JSONDecodeError as err:
        place = f"{path}:{err.lineno}:{err.colno}"
        raise invalid("invalid_json", f"the file is not JSON: {err.msg}", where=place, fix="correct the file") from err
    except (UnicodeDecodeError, RecursionError) as err:
        raise invalid(
            "invalid_json", f"the file is not JSON: {err}", where=str(path), fix="save it as JSON in UTF-8"
        ) from err


def _in_file(problem: Problem, path: Path) -> Problem:
    return problem.model_copy(update={"where": f"{path}: {problem.where}" if problem.where else str(path)})

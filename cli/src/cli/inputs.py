"""What a run is started with, from the command line: `--image name=file` and `--set name=value`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.workflow_file import read_file
from shared.contracts.errors import InvalidInputError, Problem, WeftError, invalid
from shared.contracts.graph import WorkflowGraph
from shared.contracts.validation import find_start_problems
from shared.contracts.values import MAX_PICTURE_BYTES, AssetRef, ImageValue, TextValue, Value
from shared.images import inspect


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that was read and found sound."""

    data: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class Inputs:
    """What was supplied, by name."""

    pictures: Mapping[str, Picture]
    texts: Mapping[str, TextValue]


def read_inputs(graph: WorkflowGraph, images: Sequence[str], texts: Sequence[str]) -> Inputs:
    """Return what the options supply, once it is certain that the workflow can be started with it.

    Raises InvalidInputError with every problem, among them `invalid_option`, `file_unreadable`, `unknown_input`,
    `missing_input` and what is wrong with a picture.
    """
    problems: list[Problem] = []
    files = _pairs("--image", images, problems)
    values = {name: TextValue(text=text) for name, text in _pairs("--set", texts, problems).items()}
    problems += (_twice(name) for name in files.keys() & values.keys())
    placeholders: dict[str, Value] = {**values, **dict.fromkeys(files, _PLACEHOLDER)}
    problems += find_start_problems(graph, placeholders)
    pictures = dict(_read_pictures(files, problems))
    if problems:
        raise InvalidInputError(*problems)
    return Inputs(pictures, values)


# Stands for any picture while it is checked what is asked for.
_PLACEHOLDER = ImageValue(asset=AssetRef(key="", media_type="", size=0, width=1, height=1))


def _pairs(option: str, values: Sequence[str], problems: list[Problem]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for value in values:
        name, equals, content = value.partition("=")
        if not (name and equals):
            problems.append(_not_a_pair(option, value))
        elif name in pairs:
            problems.append(_twice(name))
        else:
            pairs[name] = content
    return pairs


def _not_a_pair(option: str, value: str) -> Problem:
    kind = "FILE" if option == "--image" else "VALUE"
    return Problem(
        code="invalid_option",
        message=f"{value!r} does not say which input it is for",
        where=option,
        fix=f"write {option} NAME={kind}",
    )


def _twice(name: str) -> Problem:
    return Problem(
        code="invalid_option", message=f"the input {name!r} is supplied twice", where=name, fix="supply it once"
    )


def _read_pictures(files: Mapping[str, str], problems: list[Problem]) -> Iterator[tuple[str, Picture]]:
    for name, file in files.items():
        try:
            yield name, _read_picture(Path(file), where=f"--image {name}={file}")
        except WeftError as err:
            problems.extend(err.problems)


def _read_picture(path: Path, *, where: str) -> Picture:
    if path.is_file() and path.stat().st_size > MAX_PICTURE_BYTES:
        limit = f"{MAX_PICTURE_BYTES // 1024 // 1024} MB"
        raise invalid("file_too_large", f"the file is over the limit of {limit}", where=where, fix="make it smaller")
    data = read_file(path, where=where)
    try:
        return Picture(data, inspect(data).media_type)
    except InvalidInputError as err:
        raise InvalidInputError(*(item.model_copy(update={"where": where}) for item in err.problems)) from err

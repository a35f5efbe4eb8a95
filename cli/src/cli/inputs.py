"""Values from the command line: `--image name=file` and `--set name=value`, and the pictures among them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.workflow_file import read_file
from shared.contracts.errors import InvalidInputError, Problem, WeftError, invalid
from shared.contracts.graph import WorkflowGraph
from shared.contracts.node_types import REGISTRY
from shared.contracts.scopes import Selection
from shared.contracts.validation import find_start_problems
from shared.contracts.values import (
    MAX_PICTURE_BYTES,
    AssetRef,
    ImageValue,
    RecordValue,
    TextValue,
    Value,
    ValueType,
)
from shared.images import inspect

_NO_PICTURE = ImageValue(asset=AssetRef(key="", media_type="", size=0, width=1, height=1))
# Stand for any value of their type while it is checked what a run needs.
PLACEHOLDERS: Mapping[ValueType, Value] = {
    ValueType.TEXT: TextValue(text=""),
    ValueType.IMAGE: _NO_PICTURE,
    ValueType.RECORD: RecordValue(fields={}),
}


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that was read and found sound."""

    data: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class Inputs:
    """What was supplied, by name."""

    pictures: Mapping[str, Picture]
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Supplied:
    """What options supply, by name: values, and the files of pictures, which are not read yet."""

    option: str
    files: Mapping[str, str]
    values: Mapping[str, Value]

    @property
    def placeholders(self) -> dict[str, Value]:
        """The values, and one that stands for each picture."""
        return {**self.values, **dict.fromkeys(self.files, _NO_PICTURE)}

    def load(self, problems: list[Problem]) -> Inputs:
        """Return all that is supplied, the pictures read; what is wrong with them is added to the problems."""
        return Inputs(dict(self._pictures(problems)), self.values)

    def _pictures(self, problems: list[Problem]) -> Iterator[tuple[str, Picture]]:
        for name, file in self.files.items():
            try:
                yield name, _read_picture(Path(file), where=f"{self.option} {name}={file}")
            except WeftError as err:
                problems.extend(err.problems)


def read_options(images: Sequence[str], texts: Sequence[str], problems: list[Problem]) -> Supplied:
    """Return what `--image` and `--set` supply; options that cannot be understood are added to the problems."""
    files = read_pairs("--image", "NAME=FILE", images, problems)
    values = {name: TextValue(text=text) for name, text in read_pairs("--set", "NAME=VALUE", texts, problems).items()}
    problems += (_twice(name) for name in files.keys() & values.keys())
    return Supplied("--image", files, values)


def read_inputs(images: Sequence[str], texts: Sequence[str]) -> Inputs:
    """Return what `--image` and `--set` supply for a workflow that is not known here.

    Raises InvalidInputError with every problem, among them `invalid_option`, `file_unreadable` and what is wrong with a
    picture.
    """
    problems: list[Problem] = []
    inputs = read_options(images, texts, problems).load(problems)
    if problems:
        raise InvalidInputError(*problems)
    return inputs


def find_supply_problems(graph: WorkflowGraph, inputs: Mapping[str, Value], selection: Selection) -> Iterable[Problem]:
    """Return what keeps a graph from being started with these inputs, earlier outputs aside: here none is known."""
    lacking = set(selection.lacking(graph))
    earlier = {node.id: PLACEHOLDERS[REGISTRY[node.type].output] for node in graph.nodes if node.id in lacking}
    complete = Selection(selection.scope, selection.selected, {**earlier, **(selection.given or {})})
    return find_start_problems(graph, inputs, complete)


def read_pairs(option: str, form: str, values: Sequence[str], problems: list[Problem]) -> dict[str, str]:
    """Return the parts of options of the form NAME=CONTENT; what cannot be understood is added to the problems."""
    pairs: dict[str, str] = {}
    for value in values:
        name, equals, content = value.partition("=")
        if not (name and equals):
            problems.append(not_understood(option, form, value))
        elif name in pairs:
            problems.append(_twice(name))
        else:
            pairs[name] = content
    return pairs


def not_understood(option: str, form: str, value: str) -> Problem:
    """Return the problem of an option's value that does not have the right form."""
    return Problem(
        code="invalid_option",
        message=f"{value!r} does not say what it is for",
        where=option,
        fix=f"write {option} {form}",
    )


def _twice(name: str) -> Problem:
    return Problem(code="invalid_option", message=f"{name!r} is supplied twice", where=name, fix="supply it once")


def _read_picture(path: Path, *, where: str) -> Picture:
    if path.is_file() and path.stat().st_size > MAX_PICTURE_BYTES:
        limit = f"{MAX_PICTURE_BYTES // 1024 // 1024} MB"
        raise invalid("file_too_large", f"the file is over the limit of {limit}", where=where, fix="make it smaller")
    data = read_file(path, where=where)
    try:
        return Picture(data, inspect(data).media_type)
    except InvalidInputError as err:
        raise InvalidInputError(*(item.model_copy(update={"where": where}) for item in err.problems)) from err

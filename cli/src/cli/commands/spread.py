"""Options that several commands share, as dataclasses."""

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Any, TypeVar, get_type_hints

T = TypeVar("T")


def spread(command: Callable[..., T]) -> Callable[..., T]:
    """Return the command with the fields of its dataclass parameters in their places, for Typer to make options of.

    The fields need defaults, and names that the command and its other dataclasses do not have.
    """
    parameters = signature(command, eval_str=True).parameters
    groups: dict[str, Any] = {
        name: item.annotation for name, item in parameters.items() if is_dataclass(item.annotation)
    }

    @wraps(command)
    def call(**values: Any) -> T:
        grouped = {
            name: group(**{field.name: values.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        return command(**values, **grouped)

    flat = [part for item in parameters.values() for part in _flattened(item)]
    call.__dict__["__signature__"] = Signature(flat)
    call.__annotations__ = {item.name: item.annotation for item in flat}
    return call


def _flattened(parameter: Parameter) -> Iterator[Parameter]:
    group = parameter.annotation
    if not is_dataclass(group):
        yield parameter.replace(kind=Parameter.KEYWORD_ONLY)
        return
    hints = get_type_hints(group, include_extras=True)
    for field in fields(group):
        yield Parameter(field.name, Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name])

"""What comes back from a decoding process, and how it travels."""

from collections.abc import Callable
from dataclasses import dataclass

from shared.contracts.base import Contract
from shared.contracts.errors import Problem
from shared.images import ImageInfo, inspect


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as a file, what it is, and what a person may want to know of it."""

    data: bytes
    info: ImageInfo
    warnings: tuple[Problem, ...] = ()


# What is done to a file in a decoding process: importable there, or a partial of such a function.
Work = Callable[[bytes], Picture]


class Reply(Contract):
    """What a decoding process says of a picture, before the bytes of its file.

    Exactly one of `info`, `problems` (the picture is refused), `out_of_memory` and `defect` (a traceback) is there.
    JSON and not pickle: a process that a picture got hold of must not get hold of who reads its replies.
    """

    info: ImageInfo | None = None
    warnings: tuple[Problem, ...] = ()
    problems: tuple[Problem, ...] = ()
    out_of_memory: bool = False
    defect: str | None = None


def inspect_picture(data: bytes) -> Picture:
    """Return what the picture is, without a file; raises as `shared.images.inspect` does."""
    return Picture(b"", inspect(data))

"""The workflows that are measured, as every side reads them: nodes, and what each of them waits for.

Only the standard library is imported here: some peers run in virtual environments of their own.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["upload", "crop", "ask", "join"]
BRANCHES = 3  # of the sample: a crop and a question each
QUESTION = "What is it?"
ANSWER = "a picture"
PICTURE = {"key": "sha256/0", "mediaType": "image/jpeg", "size": 1000, "width": 300, "height": 200}


@dataclass(frozen=True, slots=True)
class Node:
    """A piece of work, which begins when the nodes with these numbers have ended."""

    kind: Kind
    after: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Shape:
    """A workflow. Its nodes stand behind all that they wait for; the last one ends last."""

    name: str
    nodes: tuple[Node, ...]


def sample() -> Shape:
    """Return upload, three crops of it, a question about each crop, a join of the answers: eight nodes."""
    crops = [Node("crop", (0,)) for _ in range(BRANCHES)]
    questions = [Node("ask", (1 + branch,)) for branch in range(BRANCHES)]
    answers = range(1 + BRANCHES, 1 + 2 * BRANCHES)
    return Shape("sample", (Node("upload"), *crops, *questions, Node("join", tuple(answers))))


def wide(width: int) -> Shape:
    """Return an upload, that many crops of it and questions about it side by side, and a join of all of them."""
    kinds: tuple[Kind, Kind] = ("crop", "ask")
    beside = [Node(kinds[number % 2], (0,)) for number in range(width)]
    return Shape("wide", (Node("upload"), *beside, Node("join", tuple(range(1, 1 + width)))))


def chain(length: int) -> Shape:
    """Return that many questions, each of which waits for the answer to the one before."""
    return Shape("chain", (Node("ask"), *(Node("join", (number,)) for number in range(length - 1))))

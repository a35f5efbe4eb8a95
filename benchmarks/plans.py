"""Query plans as people can read them: what is the same for many partitions is shown for a few."""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

SHOWN = 2  # partitions at either end
_NEVER = "(never executed)"
_PARTITION = re.compile(r"\s*->.* on \w+_(\d{8}|default)\b")


def condense(plan: Sequence[str]) -> str:
    """Return a plan's lines as a text, in which most of many scans of partitions side by side are only counted."""
    return "\n".join(_condensed(_blocks(plan)))


def _blocks(lines: Sequence[str]) -> Iterator[list[str]]:
    """Yield each line by itself, but what is told of one partition together."""
    block: list[str] = []
    for line in lines:
        if block and _indent(line) > _indent(block[0]) and _PARTITION.match(block[0]):
            block.append(line)
            continue
        if block:
            yield block
        block = [line]
    if block:
        yield block


def _condensed(blocks: Iterator[list[str]]) -> Iterator[str]:
    for indent, group in groupby(blocks, lambda block: _indent(block[0]) if _PARTITION.match(block[0]) else None):
        alike = list(group)
        executed = [block for block in alike if _NEVER not in block[0]]
        shown = executed if indent is None or len(executed) <= 2 * SHOWN else [*executed[:SHOWN], *executed[-SHOWN:]]
        for block in shown:
            yield from block
        if left_out := len(alike) - len(shown):
            unseen = len(alike) - len(executed)
            yield f"{' ' * (indent or 0)}(and {left_out} partitions more, of which {unseen} were never looked at)"


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())

"""Texts with placeholders, `{{ name }}`, for other texts; nothing is evaluated, nor is what was inserted read again."""

from collections.abc import Mapping
from dataclasses import dataclass
from string import Template

from shared.contracts.errors import Problem

UNKNOWN_NAME = "unknown_template_name"


class _Braces(Template):
    r"""The standard library's template with `{{ name }}` for a name of any words, and `\{{` for the braces themselves.

    Braces around what cannot be a name, such as quotes or further braces, are text like any other.
    """

    delimiter = "{{"
    pattern = r"""
        \\(?P<escaped>\{\{) |
        \{\{[ \t]*(?P<braced>[^\s{}"'](?:[^\n{}"']*[^\s{}"'])?)[ \t]*\}\} |
        (?P<named>(?!)) |
        (?P<invalid>(?!))
    """  # pyright: ignore[reportAssignmentType]  # the base class compiles it


@dataclass(frozen=True, slots=True)
class Filled:
    """A text whose placeholders have been filled: the names that were used, and those that nothing is known of."""

    text: str
    used: frozenset[str] = frozenset()
    unknown: tuple[str, ...] = ()


def fill(text: str, texts: Mapping[str, str]) -> Filled:
    """Return the text with the named texts in place of its placeholders; unknown ones stay as they are."""
    template = _Braces(text)
    names = template.get_identifiers()
    unknown = tuple(name for name in names if name not in texts)
    return Filled(template.safe_substitute(texts), frozenset(names) - set(unknown), unknown)


def unknown_name(names: tuple[str, ...], known: Mapping[str, str], *, where: str) -> Problem:
    """Return the problem of placeholders that name no connected text."""
    return Problem(
        code=UNKNOWN_NAME,
        message=f"no connected text is called {', '.join(map(repr, names))}",
        where=where,
        fix=f"connected texts: {', '.join(known) or 'none'}; for the braces themselves, write \\{{{{",
    )

"""How the texts that a model is asked are put together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llm_worker.domain.template import Filled, fill, unknown_name
from shared.contracts.errors import InvalidInputError, Problem, invalid

MAX_PROMPT_CHARACTERS = 32_000
_BETWEEN_PARAGRAPHS = "\n\n"


@dataclass(frozen=True, slots=True)
class Written:
    """A text of a prompt, its place, and whether it is the node's own: one that an edge brought may hold anything."""

    where: str
    text: str
    own: bool = True


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is asked; `warnings` tell of placeholders in connected texts that name nothing."""

    system_prompt: str | None
    user_message: str
    warnings: tuple[Problem, ...] = ()


def compose(system_prompt: Written, user_message: Written, texts: Sequence[tuple[str, str]]) -> Prompt:
    """Return the prompt: placeholders filled with the texts of those names, and the other texts appended.

    Texts of one name are filled in together. A text that no placeholder names becomes a paragraph `name: text` of the
    user message, in the order given; an empty user message adds no paragraph. Raises InvalidInputError
    `unknown_template_name` and `prompt_too_long`.
    """
    by_name = _by_name(texts)
    system = fill(system_prompt.text, by_name)
    message = fill(user_message.text, by_name)
    errors, warnings = _unknown_names(((system_prompt, system), (user_message, message)), by_name)
    if errors:
        raise InvalidInputError(*errors)
    check_prompt_length(system.text, where="system_prompt")
    return Prompt(system.text or None, _with_rest(system, message, texts), warnings)


def check_prompt_length(prompt: str, *, where: str) -> None:
    """Raise InvalidInputError if a prompt has more than MAX_PROMPT_CHARACTERS: `prompt_too_long`."""
    if len(prompt) > MAX_PROMPT_CHARACTERS:
        raise invalid(
            "prompt_too_long",
            f"the prompt has {len(prompt):,} characters, and {MAX_PROMPT_CHARACTERS:,} are allowed",
            where=where,
            fix="shorten the message or the texts that are connected to it",
        )


def _unknown_names(
    parts: Sequence[tuple[Written, Filled]], known: Mapping[str, str]
) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
    """Return the placeholders that name nothing: errors where they are the node's own, else warnings."""
    found = [
        (written.own, unknown_name(filled.unknown, known, where=written.where))
        for written, filled in parts
        if filled.unknown
    ]
    errors, warnings = (tuple(problem for own, problem in found if own is kind) for kind in (True, False))
    return errors, warnings


def _by_name(texts: Sequence[tuple[str, str]]) -> dict[str, str]:
    joined: dict[str, list[str]] = {}
    for name, text in texts:
        joined.setdefault(name.strip(), []).append(text)
    return {name: _BETWEEN_PARAGRAPHS.join(parts) for name, parts in joined.items()}


def _with_rest(system: Filled, message: Filled, texts: Sequence[tuple[str, str]]) -> str:
    used = system.used | message.used
    paragraphs = [message.text] if message.text.strip() else []
    paragraphs += [f"{name}: {text}" for name, text in texts if name.strip() not in used]
    whole = _BETWEEN_PARAGRAPHS.join(paragraphs)
    check_prompt_length(whole, where="user_message")
    return whole

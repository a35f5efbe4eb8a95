"""How the text that a model is asked is put together."""

from collections.abc import Sequence

from shared.contracts.errors import invalid

MAX_PROMPT_CHARACTERS = 32_000


def compose_user_message(user_message: str, texts: Sequence[tuple[str, str]]) -> str:
    """Return the user message followed by one paragraph `name: text` per text, in the order given.

    An empty user message adds no paragraph. Raises InvalidInputError `prompt_too_long` above the limit.
    """
    paragraphs = [user_message] if user_message.strip() else []
    paragraphs += [f"{name}: {text}" for name, text in texts]
    message = "\n\n".join(paragraphs)
    check_prompt_length(message, where="user_message")
    return message


def check_prompt_length(prompt: str, *, where: str) -> None:
    """Raise InvalidInputError `prompt_too_long` if a prompt has more than MAX_PROMPT_CHARACTERS."""
    if len(prompt) > MAX_PROMPT_CHARACTERS:
        raise invalid(
            "prompt_too_long",
            f"the prompt has {len(prompt):,} characters, and {MAX_PROMPT_CHARACTERS:,} are allowed",
            where=where,
            fix="shorten the message or the texts that are connected to it",
        )

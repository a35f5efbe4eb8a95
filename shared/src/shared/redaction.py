"""Secrets that no line of the logs may hold, whoever writes it: libraries and tracebacks included."""

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from pydantic import SecretStr
from structlog.typing import EventDict, WrappedLogger
from yarl import URL

from shared.settings import Settings

HIDDEN = "[hidden]"
LEAST_CHARACTERS = 8  # of a secret; less is none, as the password of the local stack, and stands in many a word
_OF_OTHERS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")  # read by the object store's library
_BEARER = r"(?i:bearer)\s+[\w.~+/=-]{8,}"


class Redaction:
    """The last processor of log lines: hides secrets in the text that is written, in whatever form they got there."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if len(secret) >= LEAST_CHARACTERS for form in (secret, _as_json(secret))}
        # The longest first: one secret may begin like another.
        patterns = [re.escape(form) for form in sorted(forms, key=len, reverse=True)]
        self._secret = re.compile("|".join([*patterns, _BEARER]))

    def __call__(self, _: WrappedLogger, __: str, line: str | bytes | EventDict) -> str:
        """Return the line without secrets."""
        return self._secret.sub(HIDDEN, str(line))


def known_secrets(settings: Settings) -> frozenset[str]:
    """Return every secret that the settings hold, alone or within an address or a document."""
    return frozenset(secret for secret in _secrets(settings) if secret)


def _secrets(settings: Settings) -> Iterator[str]:
    for _, value in settings:
        if isinstance(value, SecretStr):
            yield from _parts(value.get_secret_value())
        elif isinstance(value, str) and "://" in value:
            address = URL(value)
            yield from filter(None, (address.password, address.raw_password))
    yield from filter(None, map(os.environ.get, _OF_OTHERS))


def _parts(secret: str) -> Iterator[str]:
    """Yield a secret, those of a list that commas part, and the texts of a JSON document that are called keys."""
    yield secret
    yield from (part.strip() for part in secret.split(","))
    yield from _keys(secret)


def _keys(document: str) -> Sequence[str]:
    found: list[str] = []

    def look(pairs: list[tuple[str, Any]]) -> None:
        found.extend(value for name, value in pairs if isinstance(value, str) and "key" in name.lower())

    with suppress(ValueError):  # no JSON
        json.loads(document, object_pairs_hook=look)
    return found


def _as_json(secret: str) -> str:
    return json.dumps(secret)[1:-1]

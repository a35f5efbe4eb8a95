"""Passwords that are made once and kept in a file that only its owner can read."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path


def _random() -> str:
    return secrets.token_hex(24)


def read_or_create(path: Path, make: Callable[[], str] = _random) -> str:
    """Return the password kept at `path`; make one of 192 random bits, letters and digits only, if there is none.

    `make` is what makes it, if it is to be another.
    """
    if path.exists():
        return path.read_text().strip()
    password = make()
    write_private(path, password)
    return password


def write_private(path: Path, text: str) -> None:
    """Replace the file as a whole, readable by its owner only; a reader sees the old or the new content."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)

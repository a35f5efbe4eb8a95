"""Addresses, as they may be shown to people."""

from yarl import URL


def without_password(url: str) -> str:
    """Return the address without its password."""
    return str(URL(url).with_password(None))

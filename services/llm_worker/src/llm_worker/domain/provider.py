"""What a model server's base URL tells about it."""

from ipaddress import ip_address
from typing import Literal
from urllib.parse import urlsplit

OutputLimitField = Literal["max_tokens", "max_completion_tokens"]

_HOSTS_OF_THE_NEWER_FIELD = frozenset({"api.openai.com"})


def output_limit_field(base_url: str) -> OutputLimitField:
    """Return the name under which a server takes the cap on output tokens.

    OpenAI's reasoning models reject `max_tokens`; Ollama and DeepSeek know nothing else.
    """
    host = urlsplit(base_url).hostname
    return "max_completion_tokens" if host in _HOSTS_OF_THE_NEWER_FIELD else "max_tokens"


def is_loopback(base_url: str) -> bool:
    """Say whether a server runs on this machine, so that no proxy must stand between."""
    host = urlsplit(base_url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def printable_address(base_url: str) -> str:
    """Return a base URL without the user name, password and query that it may carry."""
    parts = urlsplit(base_url)
    location = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{location}{parts.path}"

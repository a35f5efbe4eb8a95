"""How the commands reach the gateway: by the same client as anybody."""

from shared.client import AsyncClient
from shared.settings import Settings


def connect(url: str) -> AsyncClient:
    """Return a client of the gateway at that address, with the key that is set."""
    key = Settings.load().api_key
    return AsyncClient(url, api_key=key.get_secret_value() if key else None)

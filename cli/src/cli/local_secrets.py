"""The secrets of the local stack, made by itself: nobody needs to think of one, and none is a default."""

import secrets

from pydantic import SecretStr

from shared.embedded.secrets_file import read_or_create
from shared.settings import API_KEY_FILE, URL_SECRETS_FILE, Settings

_RANDOM_BYTES = 32


def with_local_secrets(settings: Settings) -> Settings:
    """Return the settings with an API key and a secret for links, each made once and kept in the folder of the stack.

    What was set stays. The files can be read by their owner only.
    """
    makers = {"api_key": (API_KEY_FILE, _api_key), "url_secrets": (URL_SECRETS_FILE, _secret)}
    made = {
        name: SecretStr(read_or_create(settings.home / file, make))
        for name, (file, make) in makers.items()
        if getattr(settings, name) is None
    }
    return settings.model_copy(update=made)


def _api_key() -> str:
    return f"weft_{_secret()}"


def _secret() -> str:
    return secrets.token_urlsafe(_RANDOM_BYTES)

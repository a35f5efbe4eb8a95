"""The secrets of the local stack, made by itself: nobody needs to think of one, and none is a default."""

import secrets

from pydantic import SecretStr

from shared.embedded.secrets_file import read_or_create, write_private
from shared.settings import API_KEY_FILE, URL_SECRETS_FILE, Settings

_RANDOM_BYTES = 32


def with_local_secrets(settings: Settings) -> Settings:
    """Return the settings with an API key and a secret for links, each made once and kept in the folder of the stack.

    What was set stays, and a key that was set is kept there, too: so `weft` finds it in whatever terminal. The files
    can be read by their owner only.
    """
    key_file, secrets_file = settings.home / API_KEY_FILE, settings.home / URL_SECRETS_FILE
    if settings.api_key is not None:
        write_private(key_file, settings.api_key.get_secret_value())
    return settings.model_copy(
        update={
            "api_key": settings.api_key or SecretStr(read_or_create(key_file, _api_key)),
            "url_secrets": settings.url_secrets or SecretStr(read_or_create(secrets_file, _secret)),
        }
    )


def _api_key() -> str:
    return f"weft_{_secret()}"


def _secret() -> str:
    return secrets.token_urlsafe(_RANDOM_BYTES)

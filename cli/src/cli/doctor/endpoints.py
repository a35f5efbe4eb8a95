"""Where models are asked for, as far as looking at them needs it; the llm worker reads the same settings in full."""

import json
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from pydantic import SecretStr, TypeAdapter, ValidationError

from shared.contracts.base import Contract
from shared.contracts.errors import InvalidInputError, invalid
from shared.settings import Settings

_VARIABLE, _FILE_VARIABLE = "WEFT_LLM_PROVIDERS", "WEFT_LLM_PROVIDERS_FILE"


class Endpoint(Contract):
    """A provider's address and key; `api_key_variable` names the variable that holds the key."""

    name: str
    base_url: str
    api_key: SecretStr | None = None
    api_key_variable: str | None = None

    @property
    def key(self) -> str:
        """The key; empty where there is none."""
        known = self.api_key.get_secret_value() if self.api_key else ""
        return os.environ.get(self.api_key_variable, "") if self.api_key_variable else known

    @property
    def key_place(self) -> str:
        """Where the key is to be corrected."""
        return self.api_key_variable or ("WEFT_LLM_API_KEY" if self.name == "default" else f"the key of {self.name}")


_read = TypeAdapter[list[Endpoint]](list[Endpoint]).validate_python


def endpoints_of(settings: Settings) -> Iterator[Endpoint]:
    """Yield the endpoint of WEFT_LLM_BASE_URL and those of all providers; raise `invalid_providers`."""
    if settings.llm_base_url:
        yield Endpoint(name="default", base_url=settings.llm_base_url, api_key=settings.llm_api_key)
    if settings.llm_providers and (text := settings.llm_providers.get_secret_value()):
        yield from _endpoints(text, _VARIABLE, is_toml=False)
    if path := settings.llm_providers_file:
        yield from _endpoints(_text_of(path), _FILE_VARIABLE, is_toml=path.suffix == ".toml")


def _text_of(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as err:
        raise _invalid(_FILE_VARIABLE, f"{path} cannot be read") from err


def _endpoints(text: str, where: str, *, is_toml: bool) -> list[Endpoint]:
    try:
        content: Any = tomllib.loads(text) if is_toml else json.loads(text)
        entries = cast("dict[str, Any]", content).get("providers") if isinstance(content, dict) else content
        return _read(entries)
    except ValidationError:
        problem = _invalid(where, "it is no list of providers")  # what pydantic says may hold keys
    except ValueError as err:
        raise _invalid(where, "it is neither JSON nor TOML, as its name says") from err
    raise problem


def _invalid(where: str, reason: str) -> InvalidInputError:
    return invalid("invalid_providers", f"{where}: {reason}", where=where, fix="write it as docs/models.md shows")

"""From the settings to the providers of models: the simple ones make one, a JSON text or a file any number."""

import json
import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from llm_worker.domain.directory import Directory
from llm_worker.domain.provider import WILDCARD, Provider
from shared.contracts.errors import InvalidInputError, Problem, invalid
from shared.settings import Settings

DEFAULT = "default"
_VARIABLE = "WEFT_LLM_PROVIDERS"
_FILE_VARIABLE = "WEFT_LLM_PROVIDERS_FILE"
_KEY = frozenset({"apiKey", "api_key"})
_KEY_VARIABLE = ("apiKeyVariable", "api_key_variable")

_read_entries = TypeAdapter(list[dict[str, Any]]).validate_python


def read_directory(settings: Settings, environment: Mapping[str, str] = os.environ) -> Directory:
    """Return the providers that the settings name; the default model is known to be one of theirs.

    Raises InvalidInputError `invalid_providers`, `unknown_model`, `ambiguous_model` and `setting_missing`; none shows a
    key.
    """
    named = [*_from_text(settings, environment), *_from_file(settings, environment)]
    directory = Directory([*_default_provider(settings, beside=named), *named])
    directory.choose(settings.llm_model)
    return directory


def _default_provider(settings: Settings, *, beside: Sequence[Provider]) -> Iterable[Provider]:
    """Yield the provider at WEFT_LLM_BASE_URL: alone it takes all models, beside others those named like its own."""
    if settings.llm_base_url is None and beside:
        return
    model = settings.llm_model.removeprefix(f"{DEFAULT}/")
    if model == settings.llm_model:
        _check_not_taken(model, beside)
    yield Provider(
        name=DEFAULT,
        base_url=settings.require("llm_base_url"),
        api_key=settings.llm_api_key,
        models=(f"{model}{WILDCARD}" if beside else WILDCARD,),
        timeout=settings.llm_timeout,
    )


def _check_not_taken(model: str, providers: Iterable[Provider]) -> None:
    """Raise `ambiguous_model` if one of these takes the default model, too."""
    for provider in providers:
        if provider.takes(model):
            raise invalid(
                "ambiguous_model",
                f"{model!r} may be asked of {DEFAULT!r}, at WEFT_LLM_BASE_URL, and of {provider.name!r}",
                where="WEFT_LLM_MODEL",
                fix=f"write {DEFAULT}/{model} or {provider.name}/{model}",
            )


def _from_text(settings: Settings, environment: Mapping[str, str]) -> list[Provider]:
    text = settings.llm_providers.get_secret_value() if settings.llm_providers else ""
    if not text:
        return []
    try:
        entries = json.loads(text)
    except ValueError as err:
        raise _unreadable(_VARIABLE, "it is not JSON") from err
    return _read(entries, _VARIABLE, environment)


def _from_file(settings: Settings, environment: Mapping[str, str]) -> list[Provider]:
    path = settings.llm_providers_file
    if path is None:
        return []
    try:
        content = _load(path)
    except OSError as err:
        raise _unreadable(_FILE_VARIABLE, f"{path} cannot be read: {err.strerror}") from err
    except ValueError as err:
        raise _unreadable(_FILE_VARIABLE, f"{path} is neither JSON nor TOML, as its name says") from err
    entries = cast("dict[str, Any]", content).get("providers") if isinstance(content, dict) else content
    return _read(entries, str(path), environment)


def _load(path: Path) -> Any:
    text = path.read_text()
    return tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)


def _read(entries: object, where: str, environment: Mapping[str, str]) -> list[Provider]:
    try:
        return [_provider(entry, number, where, environment) for number, entry in enumerate(_read_entries(entries), 1)]
    except ValidationError as err:
        raise _unreadable(where, "it is no list of providers") from err


def _provider(entry: dict[str, Any], number: int, where: str, environment: Mapping[str, str]) -> Provider:
    fields = {name: value for name, value in entry.items() if name not in _KEY_VARIABLE}
    variable = next((entry[name] for name in _KEY_VARIABLE if name in entry), None)
    if variable is not None:
        # Beside a key it is refused, like any unknown field, for one of the two would not be used.
        fields["apiKeyVariable" if _KEY.intersection(fields) else "apiKey"] = _key_from(str(variable), environment)
    try:
        return Provider.model_validate(fields)
    except ValidationError as err:
        raise InvalidInputError(*(_problem(error, entry.get("name", number), where) for error in _errors(err))) from err


def _key_from(variable: str, environment: Mapping[str, str]) -> str:
    if key := environment.get(variable):
        return key
    raise invalid("setting_missing", f"{variable} is not set", where=variable, fix="set it to the provider's API key")


def _errors(err: ValidationError) -> list[Any]:
    return err.errors(include_input=False, include_url=False, include_context=False)


def _problem(error: Any, provider: object, where: str) -> Problem:
    field = ".".join(str(step) for step in error["loc"])
    message = f"provider {provider}: {field}: {error['msg']}" if field else f"provider {provider}: {error['msg']}"
    return Problem(code="invalid_providers", message=message, where=where, fix="correct it as docs/models.md shows")


def _unreadable(where: str, reason: str) -> InvalidInputError:
    return invalid("invalid_providers", reason, where=where, fix="write it as docs/models.md shows")

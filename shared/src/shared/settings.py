"""All settings, read from the environment once, at start.

The local infrastructure is decided here: an address that is set wins; else the embedded stack that runs under
`WEFT_HOME`, if one does; else the error says how to get one.
"""

import json
import os
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, AliasChoices, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from yarl import URL

from shared.contracts.errors import InvalidInputError, Problem, invalid

STACK_FILE = "stack.json"  # written by the embedded stack: the addresses of what it started
SERVICES_FILE = "services.json"  # written by `weft dev`: the addresses of the services
API_KEY_FILE = "api_key"  # made by `weft dev`: the key of its owner
URL_SECRETS_FILE = "url_secrets"  # made by `weft dev`: what links to pictures are signed with
MIN_SECRET_LENGTH = 32
_MIN_DIFFERENT_CHARACTERS = 10

_PREFIX = "WEFT_"
_STANDARD_OTLP = "OTEL_EXPORTER_OTLP_ENDPOINT"  # what services of all kinds are told by


def _address(*schemes: str) -> Any:
    """Return a validator for addresses with one of these schemes; it shows none of them, as they may hold secrets."""

    def check(address: str) -> str:
        try:
            url = URL(address)
            complete = url.scheme in schemes and bool(url.host or url.query.get("host")) and url.port != 0
        except ValueError:
            complete = False
        if not complete:
            raise ValueError(f"this is no address of the form {schemes[0]}://host:port/...")
        return address

    return AfterValidator(check)


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


AmqpUrl = Annotated[str, _address("amqp", "amqps")]
PostgresUrl = Annotated[str, _address("postgresql", "postgres")]
HttpUrl = Annotated[str, _address("http", "https")]


class Settings(BaseSettings):
    """What Weft can be told from outside; each field is the variable WEFT_<NAME>."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True, extra="ignore", validate_by_name=True)

    home: Path = Path(".weft")
    amqp_url: AmqpUrl | None = None
    management_url: HttpUrl | None = None  # of the broker's management API; without it, AMQP tells what it can
    database_url: PostgresUrl | None = None
    assets_url: str | None = Field(default=None, pattern=r"^[a-z0-9]+://")
    gateway_url: HttpUrl | None = None
    api_key: SecretStr | None = None
    url_secrets: SecretStr | None = None
    cors_origins: str = ""
    llm_base_url: HttpUrl | None = None
    llm_api_key: SecretStr = Field(default=SecretStr("none"), min_length=1)
    llm_model: str = "offline"
    llm_timeout: float = Field(default=120, gt=0)
    llm_providers: SecretStr | None = None  # JSON, which may hold keys; docs/models.md
    llm_providers_file: Path | None = None
    llm_concurrency: int = Field(default=8, ge=1)
    llm_decoders: int = Field(default_factory=_usable_cores, ge=1)
    ledger_max_days: float = Field(default=400, gt=0)
    replies_max_days: float = Field(default=7, gt=0)
    crop_concurrency: int = Field(default_factory=_usable_cores, ge=1)
    decode_memory_bytes: int = Field(default=2**30, ge=2**28)
    decode_cpu_seconds: int = Field(default=10, ge=1)
    cache_max_days: float = Field(default=30, gt=0)
    cache_max_bytes: int = Field(default=256 * 1024 * 1024, ge=0)
    http_host: str = "127.0.0.1"
    http_port: int = Field(default=0, ge=0, le=65_535)
    startup_timeout: float = Field(default=30, gt=0)
    shutdown_timeout: float = Field(default=25, gt=0)
    otlp_url: HttpUrl | None = Field(default=None, validation_alias=AliasChoices("WEFT_OTLP_URL", _STANDARD_OTLP))
    trace_ratio: float = Field(default=1, ge=0, le=1)
    log_format: str = Field(default="json", pattern="^(json|console)$")
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")

    @classmethod
    def load(cls) -> Self:
        """Read the environment; raise InvalidInputError that names each variable that is wrong."""
        try:
            settings = cls()
        except ValidationError as err:
            raise InvalidInputError(*(_problem(error) for error in err.errors(include_input=False))) from err
        return settings.model_copy(update={**settings._running_addresses(), **settings._local_secrets()})

    def _running_addresses(self) -> dict[str, str]:
        """Return the addresses of what runs under `home`, for the fields that were not set."""
        running = {**_read_addresses(self.home / STACK_FILE), **_read_addresses(self.home / SERVICES_FILE)}
        if self.amqp_url is not None:
            running.pop("management_url", None)  # it is that of another broker
        fields = type(self).model_fields
        return {name: url for name, url in running.items() if name in fields and getattr(self, name) is None}

    def _local_secrets(self) -> dict[str, SecretStr]:
        """Return the secrets that `weft dev` made in `home`, for the fields that were not set."""
        files = {"api_key": self.home / API_KEY_FILE, "url_secrets": self.home / URL_SECRETS_FILE}
        return {
            name: SecretStr(file.read_text().strip())
            for name, file in files.items()
            if getattr(self, name) is None and file.is_file()
        }

    def require(self, name: str) -> str:
        """Return the address of that field; raise InvalidInputError naming the variable if there is none."""
        value: str | None = getattr(self, name)
        if value is None:
            raise invalid(
                "setting_missing",
                f"{_PREFIX}{name.upper()} is not set, and no local stack runs",
                where=str(self.home),
                fix="set it, or start the local stack: weft dev",
            )
        return value

    def require_secret(self, name: str) -> str:
        """Return the secret of that field; raise InvalidInputError naming the variable if there is none."""
        value: SecretStr | None = getattr(self, name)
        if value is None:
            raise invalid(
                "setting_missing",
                f"{_PREFIX}{name.upper()} is not set",
                where=str(self.home),
                fix="set it to a random text: openssl rand -hex 32; the local stack makes its own: weft dev",
            )
        return value.get_secret_value()


def strong_secret(secret: SecretStr, variable: str) -> str:
    """Return a secret that cannot be guessed; raise InvalidInputError `weak_secret` for one like `changeme`."""
    value = secret.get_secret_value()
    if len(value) < MIN_SECRET_LENGTH or len(set(value)) < _MIN_DIFFERENT_CHARACTERS:
        raise invalid(
            "weak_secret",
            f"{variable} can be guessed: it must have {MIN_SECRET_LENGTH} random characters or more",
            where=variable,
            fix="make one: openssl rand -hex 32",
        )
    return value


def _read_addresses(path: Path) -> dict[str, str]:
    try:
        content: Any = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as err:
        raise invalid(
            "stack_file_damaged", "the file cannot be read", where=str(path), fix="stop the local stack, and remove it"
        ) from err
    return {name: value for name, value in content.items() if name.endswith("_url")}


def _problem(error: Any) -> Problem:
    name = str(error["loc"][0]).upper()
    variable = name if name.startswith((_PREFIX, _STANDARD_OTLP)) else f"{_PREFIX}{name}"
    return Problem(
        code="invalid_setting", message=f"{variable}: {error['msg']}", where=variable, fix=f"correct {variable}"
    )

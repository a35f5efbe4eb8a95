"""The settings: which are set, which cannot be used, which secrets can be guessed."""

import os
from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from pydantic import SecretStr
from yarl import URL

from cli.doctor.findings import Finding, Findings
from shared.contracts.errors import InvalidInputError
from shared.settings import Settings, strong_secret

_PREFIX = "WEFT_"
# What docker-compose.yml and the Makefile read, and the services do not.
_OF_COMPOSE = frozenset({"WEFT_GATEWAY_PORT", "WEFT_POSTGRES_PASSWORD", "WEFT_RABBITMQ_PASSWORD"})
_WEAK_PASSWORDS = frozenset({"", "weft", "guest", "postgres", "rabbitmq", "password", "changeme", "test", "admin"})
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


async def check_settings(settings: Settings) -> Sequence[Finding]:
    """Look at the environment and at the secrets."""
    findings = Findings("settings")
    known = {f"{_PREFIX}{name.upper()}" for name in Settings.model_fields}
    given = sorted(name for name in os.environ if name.upper().startswith(_PREFIX))
    if usable := [name for name in given if name.upper() in known]:
        findings.ok(f"set: {', '.join(usable)}")
    else:
        findings.ok("nothing is set: everything has its default")
    for name in given:
        if name.upper() not in known | _OF_COMPOSE:
            _warn_of_unknown(name, known, findings)
    _look_at_secrets(settings, findings)
    return findings.made


def usable_settings(findings: Findings) -> Settings:
    """Return the settings; what cannot be used is noted, and left at its default."""
    try:
        return Settings.load()
    except InvalidInputError as err:
        findings.fail_with(err.problems)
        wrong = {str(problem.where).removeprefix(_PREFIX).lower() for problem in err.problems}
        fields = Settings.model_fields
        defaults = {name: fields[name].get_default(call_default_factory=True) for name in wrong & fields.keys()}
        return Settings(**defaults)
    except OSError as err:
        findings.fail(f"{err.filename} cannot be read: {err.strerror}", "run weft as the user who runs weft dev")
        return Settings()


def _warn_of_unknown(name: str, known: set[str], findings: Findings) -> None:
    close = get_close_matches(name.upper(), known, n=1)
    fix = f"write {close[0]}" if close else "remove it"
    findings.warn(f"{name} is no setting of Weft, and has no effect", fix)


def _look_at_secrets(settings: Settings, findings: Findings) -> None:
    for variable, secret in _secrets(settings):
        try:
            strong_secret(secret, variable)
        except InvalidInputError as err:
            findings.fail_with(err.problems)
    for variable, address in (("WEFT_AMQP_URL", settings.amqp_url), ("WEFT_DATABASE_URL", settings.database_url)):
        url = URL(address) if address else None
        if url and url.host not in _LOOPBACK and (url.password or "") in _WEAK_PASSWORDS:
            findings.warn(f"the password in {variable} can be guessed", "make one: openssl rand -hex 24")


def _secrets(settings: Settings) -> Iterator[tuple[str, SecretStr]]:
    if settings.api_key:
        yield "WEFT_API_KEY", settings.api_key
    if settings.url_secrets:
        for part in settings.url_secrets.get_secret_value().split(","):
            yield "WEFT_URL_SECRETS", SecretStr(part.strip())

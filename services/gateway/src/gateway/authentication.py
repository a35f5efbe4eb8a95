"""Who may come in: a key for everything under /api, looked at before the body of a request is read."""

import asyncio
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.api_keys import ApiKeys, digest_of
from gateway.domain.callers import Caller, KeyScope, scope_of_method
from gateway.problems import error_response
from gateway.request_rates import RequestRates
from shared.contracts.errors import InvalidInputError, WeftError, invalid

GUARDED = "/api/"
KNOWN_SECONDS = 5.0  # a key that was revoked is good for this long at most
MAX_KNOWN = 10_000
MAX_KEY_LENGTH = 200

_SCHEME = "bearer "


@dataclass(frozen=True, slots=True)
class _Known:
    caller: Caller | None
    until: float


class Gate:
    """Lets in who has a key. What the database said of a key holds for `KNOWN_SECONDS`."""

    def __init__(self, keys: ApiKeys, rates: RequestRates) -> None:
        self._keys = keys
        self._rates = rates
        self._known: dict[bytes, _Known] = {}  # by digest

    async def admit(self, authorization: str | None, needed: KeyScope) -> Caller:
        """Return who asks.

        Raises `unauthenticated`, `scope_missing`, LimitedError `rate_limited`, and `database_unavailable`.
        """
        caller = await self._caller(_key_in(authorization))
        if caller is None:
            raise _unauthenticated("the API key is unknown, has expired or was revoked")
        ensure_may(caller, needed)
        if caller.limits.requests_per_minute is not None:
            await self._rates.take(caller.key_id, caller.limits.requests_per_minute)
        return caller

    async def _caller(self, secret: str) -> Caller | None:
        now, digest = asyncio.get_running_loop().time(), digest_of(secret)
        known = self._known.get(digest)
        if known is None or known.until < now:
            key = await self._keys.find(secret)
            known = _Known(key and key.caller, now + KNOWN_SECONDS)
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[digest] = known
        return known.caller


class Authentication:
    """Refuses requests without a key, and puts who asks into the state of all others, as `caller`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on that may come in."""
        if scope["type"] != "http" or not scope["path"].startswith(GUARDED):
            return await self._app(scope, receive, send)
        gate: Gate = scope["app"].state.dependencies.gate
        try:
            authorization = Headers(scope=scope).get("authorization")
            caller = await gate.admit(authorization, scope_of_method(scope["method"]))
        except WeftError as err:
            return await error_response(err)(scope, receive, send)
        scope.setdefault("state", {})["caller"] = caller
        return await self._app(scope, receive, send)


def ensure_may(caller: Caller, needed: KeyScope) -> None:
    """Return if the caller has a scope; raise `scope_missing`."""
    if not caller.may(needed):
        raise invalid(
            "scope_missing",
            f"this key lacks the scope {needed.value!r}",
            where="header.authorization",
            fix="use a key that has it",
        )


def _key_in(authorization: str | None) -> str:
    if authorization is None:
        raise _unauthenticated("an API key is needed")
    key = authorization[len(_SCHEME) :].strip()
    if not authorization.lower().startswith(_SCHEME) or not 0 < len(key) <= MAX_KEY_LENGTH:
        raise _unauthenticated("the header Authorization holds no API key")
    return key


def _unauthenticated(message: str) -> InvalidInputError:
    return invalid(
        "unauthenticated",
        message,
        where="header.authorization",
        fix="send the header: Authorization: Bearer YOUR_KEY; an administrator makes one with: weft keys create",
    )

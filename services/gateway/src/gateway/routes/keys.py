"""/api/keys: API keys, for those who administer."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path

from gateway.api_keys import ApiKey, NewKey
from gateway.dependencies import Connected, ensure_administers
from gateway.domain.callers import Limits
from gateway.key_views import KeyDraft, KeyList, KeyView, NewKeyView
from gateway.problems import problem_responses
from gateway.routes.workflows import Limit
from shared.contracts.errors import invalid

router = APIRouter(
    prefix="/api/keys",
    tags=["keys"],
    dependencies=[Depends(ensure_administers)],
    responses=problem_responses(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE),
)

KeyId = Annotated[UUID, Path(alias="keyId")]


@router.post("", status_code=HTTPStatus.CREATED, response_model_exclude_none=True)
async def create_key(draft: KeyDraft, connected: Connected) -> NewKeyView:
    """Make a key. The answer holds it, this once."""
    if draft.expires_at and draft.expires_at <= datetime.now(UTC):
        raise invalid("invalid_request", "this time is over", where="expiresAt", fix="choose a later one, or none")
    key, secret = await connected.keys.create(_new(draft))
    return NewKeyView(**dict(_view(key)), key=secret)


@router.get("", response_model_exclude_none=True)
async def list_keys(connected: Connected, limit: Limit = 50) -> KeyList:
    """List the keys of all owners, newest first, without their secrets."""
    return KeyList(keys=tuple(map(_view, await connected.keys.newest(limit))))


@router.delete(
    "/{keyId}", response_model_exclude_none=True, responses=problem_responses(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)
)
async def revoke_key(key_id: KeyId, connected: Connected) -> KeyView:
    """End a key for good; within some seconds nobody gets in with it any more."""
    return _view(await connected.keys.revoke(key_id))


def _new(draft: KeyDraft) -> NewKey:
    limits = Limits(draft.requests_per_minute, draft.concurrent_runs, draft.daily_budget)
    return NewKey(draft.name, draft.owner, frozenset(draft.scopes), limits, draft.expires_at)


def _view(key: ApiKey) -> KeyView:
    return KeyView(
        key_id=key.key_id,
        name=key.name,
        owner=key.owner,
        scopes=tuple(sorted(key.scopes)),
        requests_per_minute=key.limits.requests_per_minute,
        concurrent_runs=key.limits.concurrent_runs,
        daily_budget=key.limits.daily_budget,
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
    )

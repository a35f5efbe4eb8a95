"""/api/dead-letters, for those who administer: what was given up, why, and what is to become of it."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query

from gateway.dependencies import Connected, ensure_administers
from gateway.letter_views import DeadLetterQuery, LetterSelection, ReplayLetters
from gateway.problems import problem_responses
from shared.contracts.dead_letters import DeadLetter, DeadLetterPage, LetterId, LettersReply

router = APIRouter(
    prefix="/api/dead-letters",
    tags=["dead letters"],
    dependencies=[Depends(ensure_administers)],
    responses=problem_responses(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE),
)


@router.get("", response_model_exclude_none=True)
async def list_dead_letters(connected: Connected, query: Annotated[DeadLetterQuery, Query()]) -> DeadLetterPage:
    """List dead letters of all queues, the longest dead of each first; nothing is taken out."""
    return await connected.dead_letters.page(query.wanted(), query.limit, bodies=query.bodies)


@router.get("/{id}", response_model_exclude_none=True, responses=problem_responses(HTTPStatus.NOT_FOUND))
async def get_dead_letter(letter_id: Annotated[LetterId, Path(alias="id")], connected: Connected) -> DeadLetter:
    """Return a dead letter with its body, its headers and where it had been published to."""
    return await connected.dead_letters.get(letter_id)


@router.post("/replay", response_model_exclude_none=True)
async def replay_dead_letters(request: ReplayLetters, connected: Connected) -> LettersReply:
    """Do again what died: a job joins its run, if that is still open, else its run is taken up in a new one.

    Whatever else died goes where it had been published to. A letter is removed once that is safe; the same request
    again, after whatever interruption, does nothing twice.
    """
    return await connected.dead_letters.replay(request.wanted(), request.limit, request.params)


@router.post("/drop", response_model_exclude_none=True)
async def drop_dead_letters(request: LetterSelection, connected: Connected) -> LettersReply:
    """Throw dead letters away for good."""
    return await connected.dead_letters.drop(request.wanted(), request.limit)

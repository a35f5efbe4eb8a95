"""Following events through lines that break: where to go on, how long to pause, when to give up; no I/O."""

import time
from typing import Protocol

from shared.contracts.errors import Problem, UnavailableError
from shared.contracts.events import EVENTS, LiveEvent, NodeProgress, RunFinished, RunRejected, read_live_event
from shared.contracts.queries import RunPage, RunView
from shared.contracts.states import FINAL_RUN_STATUSES

PATIENCE_SECONDS = 30.0  # how long a gateway that is away is waited for
HELD_SECONDS = 5.0  # after which a stream that breaks was none that is closed as soon as it is opened
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 2.0
_KINDS = frozenset(message.kind_name() for message in (*EVENTS, NodeProgress))

Update = RunView | LiveEvent
WorkflowUpdate = RunPage | LiveEvent


class _Sent(Protocol):
    @property
    def event(self) -> str: ...
    @property
    def data(self) -> str: ...
    @property
    def id(self) -> str: ...


class Attempts:
    """Pauses between attempts, longer each time; gives up when none has succeeded for `patience` seconds.

    They count from what went wrong first since something was learnt: of a run that is quiet, nothing is for hours.
    """

    def __init__(self, what: str, patience: float) -> None:
        self._what, self._patience = what, patience
        self._opened: float | None = None
        self.succeeded()

    def succeeded(self) -> None:
        """Note that something was learnt."""
        self._failing_since: float | None = None
        self._pause = _FIRST_PAUSE_SECONDS

    def opened(self) -> None:
        """Note that a stream was opened; if it holds for a while, that is a success, though it tells nothing."""
        self._opened = time.monotonic()

    def fell_silent(self, seconds: float) -> None:
        """Note that the stream was dead already for that long when it was given up."""
        if self._opened is not None:
            self._opened += seconds

    def next_pause(self, err: UnavailableError | None) -> float:
        """Return the seconds to wait; raise UnavailableError `not_followed` when it is time to give up."""
        now = time.monotonic()
        if self._opened is not None and now - self._opened >= HELD_SECONDS:
            self.succeeded()
        self._opened = None
        if self._failing_since is None:
            self._failing_since = now
        if now - self._failing_since > self._patience:
            raise UnavailableError(*(err.problems if err else ()), self._given_up()) from err
        pause, self._pause = self._pause, min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
        return pause

    def _given_up(self) -> Problem:
        return Problem(
            code="not_followed",
            message=f"nothing was learnt of {self._what} for {self._patience:.0f} s; it goes on",
            fix=f"see that gateway and run tracker are up, and ask for {self._what} again",
        )


class Position:
    """How far a client has been told; `has_ended` once a run's end was."""

    def __init__(self) -> None:
        self._last_event_id = ""
        self.has_ended = False

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the request that goes on from here."""
        return {"Last-Event-ID": self._last_event_id} if self._last_event_id else {}

    def run_update(self, sent: _Sent) -> Update | None:
        """Return what was told of a run; None for what this version of the client does not know."""
        self._last_event_id = sent.id or self._last_event_id
        update = RunView.model_validate_json(sent.data) if sent.event == "run.snapshot" else _event(sent)
        self.has_ended = self.has_ended or (update is not None and ends(update))
        return update

    def workflow_update(self, sent: _Sent) -> WorkflowUpdate | None:
        """Return what was told of a workflow; None as above."""
        self._last_event_id = sent.id or self._last_event_id
        return RunPage.model_validate_json(sent.data) if sent.event == "workflow.snapshot" else _event(sent)


def ends(update: Update) -> bool:
    """Tell whether nothing can follow for the run that the update is about."""
    match update:
        case RunView() | RunFinished():
            return update.status in FINAL_RUN_STATUSES
        case RunRejected():
            return update.existing_run_id != update.run_id
        case _:
            return False


def _event(sent: _Sent) -> LiveEvent | None:
    return read_live_event(sent.data) if sent.event in _KINDS else None

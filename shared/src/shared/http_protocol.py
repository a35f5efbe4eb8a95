"""uvicorn's HTTP protocol, with a limit of the time that a client may take to say what it wants."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol


class TimedProtocol(H11Protocol):
    """Leaves a client that does not send the whole head of a request within `head_seconds`.

    uvicorn itself limits only how long a connection may be silent between two requests: one that sends a byte now and
    then could be held for ever. What comes after the head is the application's to limit.
    """

    head_seconds = 15.0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for no request any more."""
        if self._head_timer:
            self._head_timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Begin to wait for the next request on the same connection."""
        self._await_head()
        super().on_response_complete()

    def _await_head(self) -> None:
        if self._head_timer:
            self._head_timer.cancel()
        self._head_timer = self.loop.call_later(self.head_seconds, self._leave_if_waiting)

    def _leave_if_waiting(self) -> None:
        # A cycle begins with the head of its request, and is complete with its response. At first there is none.
        if not self.cycle or self.cycle.response_complete:
            self.transport.close()

"""Which of the jobs in hand may be begun: a worker may need something for it that is not always there."""

from collections.abc import Callable
from typing import Protocol

from shared.contracts.commands import NodeExecute

Release = Callable[[], None]


class Admission(Protocol):
    """Asked for each job that has got its slot, before anything is told of it and before its timeout begins."""

    async def admit(self, job: NodeExecute) -> Release | None:
        """Return what is called when the job has ended, once it may begin; None if it is to wait in its queue.

        The latter goes to the end of the queue. Takes as long as it likes: the job keeps its slot meanwhile.
        """
        ...

    def close(self) -> None:
        """Let no more jobs begin: those that are waited with are not admitted."""
        ...


class AdmitAll:
    """Lets every job begin."""

    async def admit(self, job: NodeExecute) -> Release | None:  # noqa: ARG002 - Admission's form
        """Return at once."""
        return nothing_to_release

    def close(self) -> None:
        """Do nothing: nobody waits."""


def nothing_to_release() -> None:
    """Do nothing: the job got nothing."""

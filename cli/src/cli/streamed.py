"""The last words of answers that stream in, and how far work has come; no I/O."""

from dataclasses import dataclass

from shared.contracts.events import NodeProgress

KEPT_CHARACTERS = 300  # more than a line of a terminal shows


@dataclass(frozen=True, slots=True)
class Streamed:
    """What was told of an attempt: the end of its text, `length` characters in all, and the share of work done."""

    attempt: int
    tail: str = ""
    length: int = 0
    done: float | None = None

    def take(self, event: NodeProgress) -> "Streamed":
        """Return what is known after an event. One that came again adds nothing; of a gap, only the end is shown."""
        if event.attempt < self.attempt:
            return self
        known = self if event.attempt == self.attempt else Streamed(event.attempt)
        start, end = event.offset, event.offset + len(event.text)
        new = event.text[max(0, known.length - start) :]
        tail = new if start > known.length else known.tail + new
        done = known.done if event.done is None else event.done
        return Streamed(event.attempt, tail[-KEPT_CHARACTERS:], max(known.length, end), done)

    @property
    def last_words(self) -> str:
        """The end of the text on one line."""
        return " ".join(self.tail.split())

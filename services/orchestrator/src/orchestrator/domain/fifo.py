"""A queue of node ids that is never changed in place; all its operations cost the same, however long it is."""

from dataclasses import dataclass, field

from immutables import Map


@dataclass(frozen=True, slots=True)
class Fifo:
    """Node ids in the order in which they were added."""

    _items: Map[int, str] = field(default_factory=Map[int, str])
    _first: int = 0

    def __len__(self) -> int:
        return len(self._items)

    def add(self, node_id: str) -> "Fifo":
        """Return the queue with one more at its end."""
        return Fifo(self._items.set(self._first + len(self._items), node_id), self._first)

    def pop(self) -> tuple[str, "Fifo"]:
        """Return the first and the queue without it; raise KeyError if it is empty."""
        return self._items[self._first], Fifo(self._items.delete(self._first), self._first + 1)

    def place(self, node_id: str) -> int | None:
        """Return the place of a node, from 1; None if it is not in the queue. Looks at all."""
        places = (number for number, item in self._items.items() if item == node_id)
        return next((number - self._first + 1 for number in places), None)

"""The slot between two threads that holds one item: the newest wins, and no queue can grow."""

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Latest(Generic[T]):
    """A slot for one item, for one thread that puts and one that takes. `replaced` counts items never taken."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: T | None = None
        self._closed = False
        self.replaced = 0

    def put(self, item: T) -> None:
        """Put `item` in at once; one that was not taken yet gives way and is counted."""
        with self._changed:
            self._check_open()
            self.replaced += self._item is not None
            self._item = item
            self._changed.notify_all()

    def put_when_empty(self, item: T, timeout: float) -> bool:
        """Put `item` in once the one before it was taken; False, and nothing put, after `timeout` seconds."""
        with self._changed:
            self._check_open()
            if not self._changed.wait_for(lambda: self._item is None, timeout):
                return False
            self._item = item
            self._changed.notify_all()
            return True

    def take(self, timeout: float) -> T | None:
        """Take the item out; None after `timeout` seconds, or at once when the slot is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._closed, timeout)
            item, self._item = self._item, None
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """Say that nothing follows; an item in the slot can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def finished(self) -> bool:
        """True once the slot is closed and empty."""
        with self._changed:
            return self._closed and self._item is None

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("the slot is closed; nothing may be put into it.")

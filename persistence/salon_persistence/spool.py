"""What waits for a writer that has a thread of its own and sleeps there until something comes."""

from queue import SimpleQueue

from salon_persistence.commit_queue import Batch, CommitQueue


class Spool:
    """One thread fills the queue and rings; one takes from it. Both may be asked to stop by any thread."""

    def __init__(self, queue: CommitQueue) -> None:
        self._queue = queue
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._is_asleep = False
        self._is_wanted = False
        self._is_closed = False

    @property
    def is_finished(self) -> bool:
        """Closed, and everything was taken."""
        return self._is_closed and not self._queue

    def ring(self) -> None:
        """Something was put into the queue. A writer that is awake looks there by itself."""
        if self._is_asleep:
            self._is_asleep = False
            self._bell.put(None)

    def interrupt(self) -> None:
        """The next `take` returns None: somebody else wants the thread for a moment."""
        self._is_wanted = True
        self._bell.put(None)

    def close(self) -> None:
        self._is_closed = True
        self._bell.put(None)

    def take(self) -> Batch | None:
        """The next batch; sleeps until there is one. None: see `interrupt` and `is_finished`."""
        while not self._is_wanted:
            batch = self._queue.next()
            if batch is not None or self._is_closed:
                return batch
            self._is_asleep = True
            if not self._queue:  # Looked at again, because what came before it was asleep did not ring.
                self._bell.get()
            self._is_asleep = False
        self._is_wanted = False
        return None

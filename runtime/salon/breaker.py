"""The breaker of each session type: when activations keep failing, no more are tried for a while.

| State | Meaning | Goes to |
| --- | --- | --- |
| closed | activations are tried | open, after `failures_max` failures within `window_s` and no success between them |
| open | none is tried | half-open, after `open_s` |
| half-open | one is tried at a time | closed, if it succeeds; open, if it fails |

After a bad deployment every session of a type fails as it comes into memory, and every one that is tried costs reads
of the store and time of the loop that other types need. One broken session among healthy ones never opens it, because
each success between starts the count anew.
"""

from __future__ import annotations

from salon.errors import Corrupt, SalonError, SchemaTooNew, StateInvalid, TurnFailed


def is_of_its_type(error: SalonError) -> bool:
    """Whether an activation that ended with this counts: stored state or hooks do not suit the code.

    A missing session is an answer, and a store that cannot be read is the same for all types.
    """
    return isinstance(error, StateInvalid | SchemaTooNew | Corrupt | TurnFailed)


class Circuit:
    """What is remembered of one type of which an activation has failed, and none has succeeded since."""

    __slots__ = ("failures", "opens_again_at")

    def __init__(self) -> None:
        self.failures: tuple[float, ...] = ()
        """When, oldest first; as many as are needed to open it."""
        self.opens_again_at: float | None = None
        """From when on one more may be tried; None while it is closed."""


class Breaker:
    """All session types of a runtime, by their stored names; `now` is the monotonic clock, in seconds."""

    def __init__(self, failures_max: int, window_s: float, open_s: float) -> None:
        self._failures_max = failures_max
        self._window_s = window_s
        self._open_s = open_s
        self._circuits: dict[str, Circuit] = {}

    def __len__(self) -> int:
        """Types that are remembered."""
        return len(self._circuits)

    def enter(self, session_type: str, now: float) -> float | None:
        """An activation wants to begin. None: it may, and `succeeded` or `failed` follows. Else seconds to wait.

        When the circuit is half-open, the one that is let through is the trial; if nothing is heard of it, because it
        was cancelled or failed for a reason of the store's, the next one is let through after `open_s`.
        """
        if not self._circuits:
            return None
        circuit = self._circuits.get(session_type)
        if circuit is None or circuit.opens_again_at is None:
            return None
        if now < circuit.opens_again_at:
            return circuit.opens_again_at - now
        circuit.opens_again_at = now + self._open_s
        return None

    def succeeded(self, session_type: str) -> None:
        """An activation of the type has succeeded, whenever it began: its code works."""
        if self._circuits:
            self._circuits.pop(session_type, None)

    def failed(self, session_type: str, now: float) -> None:
        """An activation of the type has failed, for a reason that is its type's; see `is_of_its_type`."""
        circuit = self._circuits.setdefault(session_type, Circuit())
        circuit.failures = (*circuit.failures, now)[-self._failures_max :]
        if circuit.opens_again_at is not None or self._is_used_up(circuit, now):
            circuit.opens_again_at = now + self._open_s

    def _is_used_up(self, circuit: Circuit, now: float) -> bool:
        return len(circuit.failures) == self._failures_max and now - circuit.failures[0] <= self._window_s

    def open_types(self, now: float) -> dict[str, float]:
        """Types of which nothing is activated now, and the seconds until one is tried; for reports."""
        waits = ((name, (circuit.opens_again_at or now) - now) for name, circuit in self._circuits.items())
        return {name: wait_s for name, wait_s in waits if wait_s > 0}

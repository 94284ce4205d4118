"""Parking: a session whose turns keep failing rests for a while, and other sessions never notice.

| State | Meaning | Goes to |
| --- | --- | --- |
| healthy | nothing is kept | watched, at a failure |
| watched | its failures are remembered | parked, at `crash_budget` within `crash_window_s`; healthy, in time |
| parked | takes nothing until its rest is over | on trial, when the rest is over; healthy, by `resume` |
| on trial | its next turn decides | healthy, if it succeeds; parked for twice as long, if it fails |

While a session is watched, a success does not give its budget back: every second message may crash it, and five
crashes a minute are five crashes a minute, as in OTP's restart intensity.

What counts are failures of the session's own code and state: `TurnFailed`, `StateInvalid`, and a turn that the process
died in. What does not: an error of ours that says "later" and was let out by the handler. `Refused` is an answer.
`TurnTimeout` is mostly a slow model, and bounds itself in time. Turns that were stopped, interrupted or superseded were
cut by somebody. `NotApplied`, `OutcomeUnknown`, `Fenced` and `StoreUnavailable` are troubles of the store, the same for
all sessions. `Draining` is no failure.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from salon.backoff import Backoff, Uniform
from salon.errors import SalonError, StateInvalid, TurnFailed

FORGOTTEN_AT_ONCE = 8
"""Sessions that one failure may clear away: more than one, so that the table shrinks; few, so that nobody waits."""


def is_crash(error: SalonError) -> bool:
    """Whether a turn that ended with this counts against its session; a turn that the process died in does.

    A handler that lets an error of ours out, which says that the same may succeed later, has met a store in trouble
    or a session that is busy: that is no fault of its own.
    """
    if isinstance(error, TurnFailed):
        return not (isinstance(error.__cause__, SalonError) and error.__cause__.retryable)
    return isinstance(error, StateInvalid)


class Record:
    """What is remembered of one session that has failed."""

    __slots__ = ("failures", "parked_until", "parkings")

    def __init__(self) -> None:
        self.failures: tuple[float, ...] = ()
        """When, oldest first; as many as the budget. A deque of five would take seven times the memory."""
        self.parked_until: float | None = None
        """End of the last rest; None before the first one, and after a success."""
        self.parkings = 0
        """In a row, without a success in between."""


class Parking:
    """All sessions of a runtime, by their internal numbers; of healthy ones nothing is kept.

    `now` is always a reading of the monotonic clock, in seconds. A session that failed is forgotten once nothing of it
    has failed for `crash_window_s` and the longest rest together.
    """

    def __init__(self, crash_budget: int, crash_window_s: float, backoff: Backoff, chance: Uniform) -> None:
        self._budget = crash_budget
        self._window_s = crash_window_s
        self._backoff = backoff
        self._chance = chance
        self._kept_s = crash_window_s + backoff.max_s
        self._records: OrderedDict[int, Record] = OrderedDict()
        """The one whose last failure is oldest first."""

    def __len__(self) -> int:
        """Sessions that are remembered."""
        return len(self._records)

    @property
    def remembered(self) -> Mapping[int, Record]:
        """Them, as they come and go: who has to look with each message keeps this."""
        return self._records

    def rest_s(self, sid: int, now: float) -> float | None:
        """Seconds for which the session is still parked; None: it is not."""
        record = self._records.get(sid)
        if record is None or record.parked_until is None or record.parked_until <= now:
            return None
        return record.parked_until - now

    def failed(self, sid: int, now: float) -> float | None:
        """A turn of the session crashed. Returns the seconds for which it is parked from now on, None if it is not.

        A failure of a session that is parked already (there may be one, of a turn that was cut) prolongs nothing.
        """
        self.forget(now, FORGOTTEN_AT_ONCE)
        record = self._records.get(sid) or Record()
        if record.parked_until is not None and record.parked_until > now:
            return None
        record.failures = (*record.failures, now)[-self._budget :]
        self._records[sid] = record
        self._records.move_to_end(sid)
        return self._park(record, now) if self._must_rest(record, now) else None

    def _must_rest(self, record: Record, now: float) -> bool:
        on_trial = record.parked_until is not None
        return on_trial or (len(record.failures) == self._budget and now - record.failures[0] <= self._window_s)

    def _park(self, record: Record, now: float) -> float:
        record.parkings += 1
        rest_s = self._backoff.equal_s(record.parkings, self._chance)
        record.parked_until = now + rest_s
        return rest_s

    def succeeded(self, sid: int, now: float) -> None:
        """A turn of the session was committed, or ended well without anything to commit.

        To be called for each of them, so that the doubling ends; `if parking:` before it spares a healthy runtime that.
        """
        record = self._records.get(sid)
        if record is not None and record.parked_until is not None and record.parked_until <= now:
            del self._records[sid]  # what came before its rest has been paid for

    def resume(self, sid: int, now: float) -> bool:
        """Forgets what the session did: its cause was mended. True if it was parked until now."""
        was_parked = self.rest_s(sid, now) is not None
        self._records.pop(sid, None)
        return was_parked

    def forget(self, now: float, sessions_max: int | None = None) -> None:
        """Drops those that have not failed for long. `failed` drops a few; for an idle runtime, call it at times."""
        for _ in range(len(self._records) if sessions_max is None else min(sessions_max, len(self._records))):
            sid, record = next(iter(self._records.items()))
            if record.failures[-1] + self._kept_s > now:
                return
            del self._records[sid]

    def parked(self, now: float) -> dict[int, float]:
        """Who is parked, and for how many seconds more; for reports."""
        rests = ((sid, self.rest_s(sid, now)) for sid in self._records)
        return {sid: rest_s for sid, rest_s in rests if rest_s is not None}

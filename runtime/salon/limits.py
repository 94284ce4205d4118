"""Limits: what the sender feels at admission when there is too much of something.

The order of the checks, and why:

1. the session's own mailbox: `MailboxFull`. The narrowest bound names the nearest cause, and it alone has a way out
   that the handler may choose (`when_full`);
2. messages and bytes over all sessions: `CapacityExceeded`;
3. bytes behind the gate: `CapacityExceeded`. After 2, since a slow disk fills the mailboxes too, and they are the
   more telling;
4. rates: `RateLimited`. Last, because only this check takes something: a message that is refused for another reason
   must not use up a token.

Nothing that waits is dropped before all of them have passed: it would be lost for a message that does not come.
"""

from __future__ import annotations

from collections.abc import Callable

from salon.errors import CapacityExceeded, MailboxFull, RateLimited
from salon.rates import Rates
from salon.settings import Settings

RETRY_S = 1.0
"""Seconds after which to try again where nobody knows: bounds of the whole runtime move with everybody's turns."""
RETRY_S_MIN, RETRY_S_MAX = 0.05, 60.0
"""A place that is free at once is taken by another at once; and who waits longer than a minute looks again anyway."""


class Limits:
    """Asked at each admission, on the loop. It keeps nothing but the bytes behind the gate and the rates' buckets."""

    def __init__(
        self, settings: Settings, messages_waiting: Callable[[], int], bytes_waiting: Callable[[], int]
    ) -> None:
        """The two callables give the totals over all mailboxes, at the time of asking."""
        self._messages_waiting = messages_waiting
        self._bytes_waiting = bytes_waiting
        self._mailbox_messages_max = settings.mailbox_messages_max
        self._mailbox_bytes_max = settings.mailbox_bytes_max
        self._mailbox_age_max_s = settings.mailbox_age_max_s
        self._messages_max = settings.messages_max
        self._messages_bytes_max = settings.messages_bytes_max
        self._gate_bytes_max = settings.gate_bytes_max
        self._sessions_max = settings.sessions_max
        self._records_max = settings.idempotency_records_max
        self._records_age_s = settings.idempotency_age_s
        self.gate_bytes = 0
        """What the store has and has not answered for."""
        self.rates = Rates(settings.rate_per_session, settings.rate_per_user, settings.rate_burst)

    def mailbox(self, size_bytes: int, depth: int, waiting_bytes: int, oldest_age_s: float) -> MailboxFull | None:
        """Whether the mailbox of its session has room for a message of `size_bytes`. The one that runs is not in it.

        With `depth` 0 the next two are not looked at: an empty mailbox takes any message that is not too large as such.

        Args:
            depth: Messages that wait, of `waiting_bytes` together, the oldest for `oldest_age_s` seconds.
        """
        if not depth:
            return None
        if (
            depth < self._mailbox_messages_max
            and waiting_bytes + size_bytes <= self._mailbox_bytes_max
            and oldest_age_s <= self._mailbox_age_max_s
        ):
            return None
        return MailboxFull(depth, waiting_bytes, oldest_age_s, next_place_s(depth, oldest_age_s))

    def runtime(self, size_bytes: int, given_up: int = 0, given_up_bytes: int = 0) -> CapacityExceeded | None:
        """Whether all sessions together, and the store, can take one more message of `size_bytes`.

        Args:
            given_up: Messages that leave when it comes, of `given_up_bytes` together.
        """
        messages = self._messages_waiting() - given_up
        if messages >= self._messages_max:
            return CapacityExceeded("messages_max", messages, self._messages_max, retry_after_s=RETRY_S)
        if messages:
            waiting = self._bytes_waiting() - given_up_bytes
            if waiting + size_bytes > self._messages_bytes_max:
                return CapacityExceeded("messages_bytes_max", waiting, self._messages_bytes_max, retry_after_s=RETRY_S)
        if self.gate_bytes >= self._gate_bytes_max:
            return CapacityExceeded("gate_bytes_max", self.gate_bytes, self._gate_bytes_max, retry_after_s=RETRY_S)
        return None

    def rate(self, sid: int, tenant: str, user_id: str | None, now: float) -> RateLimited | None:
        """Takes a token of the session and one of its user, or says which of them has none; to be asked last."""
        if self.rates.bound_nothing:
            return None
        excess = self.rates.check(sid, tenant, user_id, now)
        return None if excess is None else RateLimited(excess.scope, excess.wait_s)

    def held(self, size_bytes: int) -> None:
        """A turn of so many bytes went to the store. It is never refused: its message was accepted long ago."""
        self.gate_bytes += size_bytes

    def released(self, size_bytes: int) -> None:
        """The store has answered for it, however."""
        self.gate_bytes -= size_bytes
        assert self.gate_bytes >= 0, self.gate_bytes

    def sessions(self, active: int) -> CapacityExceeded | None:
        """Whether one more session may be created beside `active` ones."""
        if active < self._sessions_max:
            return None
        return CapacityExceeded("sessions_max", active, self._sessions_max)

    def records(self, kept: int, oldest_age_s: float) -> CapacityExceeded | None:
        """Whether a session that keeps `kept` idempotency records may have one more.

        To be asked after those that are old enough were forgotten: of younger ones none is ever given up for another.
        """
        if kept < self._records_max:
            return None
        left_s = max(self._records_age_s - oldest_age_s, RETRY_S_MIN)
        return CapacityExceeded("idempotency_records_max", kept, self._records_max, oldest_age_s, left_s)


def next_place_s(depth: int, oldest_age_s: float) -> float:
    """About the time in which one of `depth` (>= 1) waiting messages leaves, when the oldest came `oldest_age_s` ago.

    Little's law: as many leave a queue in a second as come, and `depth` of them came in the last `oldest_age_s`.
    """
    return min(max(oldest_age_s / depth, RETRY_S_MIN), RETRY_S_MAX)

"""Rates: how fast messages may come, by session and by user, each with a burst.

A token bucket holds `burst` tokens and gets `rate` of them each second; a message takes one. It is kept as one number,
the time at which the bucket will be full again (the "virtual scheduling" form of the generic cell rate algorithm,
ITU-T I.371 annex A): a bucket that is full needs no memory at all, and there is no timer that fills any.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, Literal, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)

ROUNDING_S = 1e-6
"""Who comes at the very time that he was told must find his token, although sums of floats are rounded."""
FORGOTTEN_AT_ONCE = 8
"""Full buckets that one message may clear away: more than one, so that the table shrinks; few, so that nobody waits."""


class Excess(NamedTuple):
    """Why a message may not come yet."""

    scope: Literal["session", "user"]
    wait_s: float
    """Seconds, > 0, until it may, if nobody else is quicker."""


class Buckets(Generic[K]):
    """Token buckets of one kind, by key; of full ones nothing is kept.

    `now` is a reading of the monotonic clock, in seconds. No bucket is kept for longer than an empty one takes to
    refill, `burst / rate` seconds, as long as messages come or `forget` is called.
    """

    def __init__(self, rate: float, burst: int) -> None:
        assert rate > 0, rate
        assert burst >= 1, burst
        self._token_s = 1 / rate
        self._slack_s = (burst - 1) / rate
        """How far ahead the time of being full may be when there is still one token."""
        self._full_at: OrderedDict[K, float] = OrderedDict()
        """The bucket that gave a token longest ago first."""

    def __len__(self) -> int:
        """Buckets that are remembered: those that were not full, when it was last looked."""
        return len(self._full_at)

    def wait_s(self, key: K, now: float) -> float:
        """Seconds until the bucket has a token; 0: it has one. Takes nothing."""
        wait_s = self._full_at.get(key, now) - self._slack_s - now
        return wait_s if wait_s > ROUNDING_S else 0.0

    def take(self, key: K, now: float) -> None:
        """Takes the token that `wait_s` has found."""
        self.forget(now, FORGOTTEN_AT_ONCE)
        self._full_at[key] = max(self._full_at.get(key, now), now) + self._token_s
        self._full_at.move_to_end(key)

    def forget(self, now: float, buckets_max: int | None = None) -> None:
        """Drops buckets that are full again. `take` drops a few; for an idle runtime, call it at times."""
        for _ in range(len(self._full_at) if buckets_max is None else min(buckets_max, len(self._full_at))):
            key, full_at = next(iter(self._full_at.items()))
            if full_at > now:  # those behind it may be full, and are not older than a refill either
                return
            del self._full_at[key]


class Rates:
    """The bucket of a message's session and that of its user: it takes a token of each, or of none."""

    def __init__(self, per_session: float | None, per_user: float | None, burst: int) -> None:
        """Messages per second, None: without a bound; `burst`, at least 1, is of either."""
        self._sessions = None if per_session is None else Buckets[int](per_session, burst)
        self._users = None if per_user is None else Buckets[tuple[str, str]](per_user, burst)
        self.bound_nothing = per_session is None and per_user is None

    def __len__(self) -> int:
        """Buckets that are remembered."""
        return len(self._sessions or ()) + len(self._users or ())

    def check(self, sid: int, tenant: str, user_id: str | None, now: float) -> Excess | None:
        """None: the message may come, and has its tokens. A session without a user has only a rate of its own.

        If both buckets are empty, the one that takes longer is named.
        """
        sessions, users = self._sessions, self._users if user_id is not None else None
        session_s = sessions.wait_s(sid, now) if sessions is not None else 0.0
        user = (tenant, user_id or "")
        user_s = users.wait_s(user, now) if users is not None else 0.0
        if session_s or user_s:
            return Excess("session", session_s) if session_s >= user_s else Excess("user", user_s)
        if sessions is not None:
            sessions.take(sid, now)
        if users is not None:
            users.take(user, now)
        return None

    def forget(self, now: float) -> None:
        """Drops all buckets that are full again."""
        for buckets in (self._sessions, self._users):
            if buckets is not None:
                buckets.forget(now)

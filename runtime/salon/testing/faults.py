"""Faults as data: which call of a store goes wrong, at which moment of it, and how.

    effect     instead of the call             after the call                 before the call
    refuse     nothing applied, says so        applied, says it was not       -
    unknown    nothing applied, cannot say     applied, cannot say            -
    fence      nothing applied, fenced off     -                              -
    lose       nothing applied, says it was    -                              -
    stall      -                               applied, answers when released waits until released, then applies
    die        -                               applied, dead ever after       nothing applied, dead ever after

A fence without a session is the loss of the whole store; for one session, another version of it.
To refuse what was applied, or to lose what was promised, is what no store may do: with those two a test makes sure
that it would notice.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

Verb: TypeAlias = Literal["commit", "keep", "load", "find", "read_pages", "mail_waits", "letters", "probe"]
Calls: TypeAlias = Verb | Literal["write", "read", "any"]
"""One verb, or `write` (commit, keep), `read` (load, find, read_pages, mail_waits, letters), or `any` of the eight."""
When: TypeAlias = Literal["before", "instead", "after"]
Effect: TypeAlias = Literal["refuse", "unknown", "fence", "lose", "stall", "die"]

WRITES: Final = frozenset[Verb](("commit", "keep"))
READS: Final = frozenset[Verb](("load", "find", "read_pages", "mail_waits", "letters"))
PLACES: Final[Mapping[Effect, tuple[When, ...]]] = MappingProxyType(
    {
        "refuse": ("instead", "after"),
        "unknown": ("instead", "after"),
        "fence": ("instead",),
        "lose": ("instead",),
        "stall": ("before", "after"),
        "die": ("before", "after"),
    }
)


@dataclass(frozen=True, slots=True)
class FaultPoint:
    """One fault, at one call. Frozen, so that a plan can be printed, kept and used again."""

    calls: Calls
    """Which calls are counted."""
    number: int
    """The fault comes at this one of them; the first is 1."""
    when: When
    effect: Effect
    times: float = 1
    """How many of them in a row, from `number` on: `times=3` is an outage that heals, `math.inf` one that does not."""
    sid: int | None = None
    """Count only writes that hold a record of this session, and touch only that record, not its neighbours."""

    def __post_init__(self) -> None:
        if self.number < 1:
            raise ValueError(f"Calls are counted from 1, so there is no call {self.number}.")
        if not self.times >= 1:
            raise ValueError(f"A fault comes at least once, not {self.times} times.")
        if self.when not in PLACES[self.effect]:
            raise ValueError(
                f"A store can {self.effect} {' or '.join(PLACES[self.effect])} a call, not {self.when} it."
            )
        if not self._is_write and (self.effect in ("fence", "lose") or self.sid is not None):
            raise ValueError(
                "Only a write is fenced or lost, and only a write tells its session: commit, keep or write."
            )

    @property
    def _is_write(self) -> bool:
        return self.calls == "write" or self.calls in WRITES

    def counts(self, verb: Verb, sids: frozenset[int]) -> bool:
        """Whether a call of this verb, with records of these sessions, is one of those that are counted."""
        return covers(self.calls, verb) and (self.sid is None or self.sid in sids)

    def comes_at(self, number: int) -> bool:
        """Whether the fault comes at this one of the calls that it counts."""
        return self.number <= number < self.number + self.times

    def touches(self, sid: int) -> bool:
        """Whether a record of this session hears of the fault."""
        return self.sid is None or self.sid == sid


def covers(calls: Calls, verb: Verb) -> bool:
    """Whether `calls` means this verb, alone or among others."""
    if calls == "write":
        return verb in WRITES
    return verb in READS if calls == "read" else calls in ("any", verb)

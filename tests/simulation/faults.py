"""What goes wrong beneath the runtime: one fault each, to be paired with any workload."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

from salon.testing import Calls, Effect, FaultPoint, SeededChance, When

Plan = Callable[[SeededChance], Sequence[FaultPoint]]

ALWAYS = frozenset({"Refused", "TurnFailed", "TurnTimeout", "MailboxFull"})
"""Errors that a workload asks for by itself."""
TROUBLE = frozenset({"NotApplied", "StoreUnavailable"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A plan for the store of each life, and what clients may hear of it."""

    name: str
    plan: Plan
    lives: int = 1
    """How often the runtime is opened, on the same file."""
    life_s: float = inf
    """A life before the last is closed in good order at the latest after so long."""
    stall_s: float = 0
    """At most so long is a stalled call held up."""
    errors: frozenset[str] = frozenset()
    """What clients may meet, beyond what they ask for."""
    logs_errors: bool = False
    must_fire: bool = True
    """Over the seeds of one workload, at least once."""


def somewhere(
    calls: Calls, when: When, effect: Effect, points: int, within: int, times: int = 1, sid: int | None = None
) -> Plan:
    """So many points at the first calls of this kind. `times`: at most so many calls in a row."""

    def plan(chance: SeededChance) -> Sequence[FaultPoint]:
        return [
            FaultPoint(calls, 1 + chance.below(within), when, effect, times=1 + chance.below(times), sid=sid)
            for _ in range(points)
        ]

    return plan


def together(*plans: Plan) -> Plan:
    return lambda chance: [point for plan in plans for point in plan(chance)]


def death(calls: Calls, *withins: int) -> Plan:
    """One death, before or after one of the first calls of this kind: soon or late."""

    def plan(chance: SeededChance) -> Sequence[FaultPoint]:
        when: When = ("before", "after")[chance.below(2)]
        return [FaultPoint(calls, 1 + chance.below(withins[chance.below(len(withins))]), when, "die")]

    return plan


def nothing(chance: SeededChance) -> Sequence[FaultPoint]:
    return ()


FAULTS = (
    Fault(name="none", plan=nothing, must_fire=False),
    Fault(
        name="store_stalls",
        plan=together(somewhere("commit", "before", "stall", 3, 12), somewhere("commit", "after", "stall", 3, 12)),
        stall_s=9,
        errors=frozenset({"StoreUnavailable"}),
    ),
    Fault(
        name="store_refuses",
        plan=together(
            somewhere("commit", "instead", "refuse", 4, 15, times=3),
            somewhere("probe", "instead", "refuse", 1, 2, times=3),
            somewhere("keep", "instead", "refuse", 1, 2),
        ),
        errors=TROUBLE,
    ),
    Fault(
        name="store_does_not_say",
        plan=together(
            somewhere("commit", "instead", "unknown", 1, 15, sid=1),
            somewhere("commit", "after", "unknown", 1, 15, sid=1),
            somewhere("commit", "after", "unknown", 2, 15),
        ),
        errors=frozenset({"OutcomeUnknown"}),
    ),
    Fault(
        name="session_fenced",
        plan=together(
            somewhere("commit", "instead", "fence", 2, 3, sid=1),
            somewhere("commit", "instead", "fence", 1, 1, sid=2),
            somewhere("commit", "instead", "fence", 1, 1, sid=3),
            somewhere("keep", "instead", "unknown", 1, 2),
        ),
        errors=frozenset({"Fenced"}),
    ),
    Fault(
        name="reads_fail",
        plan=together(
            somewhere("commit", "after", "unknown", 2, 12),
            somewhere("load", "instead", "refuse", 3, 6),
            somewhere("read_pages", "instead", "refuse", 3, 6),
        ),
        lives=2,
        life_s=4,
        errors=frozenset({"OutcomeUnknown", "Draining", "RuntimeNotRunning"}) | TROUBLE,
    ),
    Fault(
        name="process_dies",
        plan=death("write", 12, 100),
        lives=4,
        errors=frozenset({"OutcomeUnknown", "Draining", "RuntimeNotRunning"}) | TROUBLE,
        logs_errors=True,
    ),
    Fault(
        name="process_dies_at_a_snapshot",
        plan=death("keep", 1, 2),
        lives=4,
        errors=frozenset({"OutcomeUnknown", "Draining", "RuntimeNotRunning"}) | TROUBLE,
        logs_errors=True,
        must_fire=False,  # Only in conversations that are long enough for one.
    ),
    Fault(
        name="process_restarts",
        plan=nothing,
        lives=4,
        life_s=1.5,
        errors=frozenset({"Draining", "RuntimeNotRunning"}),
        must_fire=False,
    ),
)

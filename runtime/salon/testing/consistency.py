"""Whether a history can be: what the promises about sessions allow, and nothing else.

A session is a list that grows at its end, so its final list is the order in which the appends took effect, and a read
that is a prefix of it took effect behind its last element. With that order given, the history is linearizable if and
only if no operation comes before one that had ended when it began; sessions are checked apart, because linearizable
objects compose (Herlihy and Wing, "Linearizability: a correctness condition for concurrent objects", TOPLAS 1990).
So it takes a sort, O(n log n), and one look at each element that was read.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain
from math import inf
from typing import Final, Literal, TypeAlias

from salon.testing.history import Append, History, Read

Kind: TypeAlias = Literal[
    "duplicate",
    "lost",
    "misplaced",
    "order",
    "foreign",
    "not_applied",
    "prefix",
    "stale",
    "early",
    "backward",
    "abandoned",
    "no_progress",
]
Ranked: TypeAlias = tuple[int, str]
"""A number and the element that it is the number of; compared by the number first."""

NONE: Final[Ranked] = (0, "")


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that must not be.

    duplicate    an element is there twice
    lost         an acknowledged element is not there
    misplaced    an acknowledged element is not where its reply said
    order        an element stands before one that was acknowledged before its own append began
    foreign      an element is there that nobody appended to this session
    not_applied  an element is there whose appends all failed with the promise that nothing happened
    prefix       a read saw something else than the beginning of the final list
    stale        a read lacks an element that had been acknowledged when it began
    early        a read saw an element whose append began after the read had ended
    backward     a read saw less than one that had ended when it began
    abandoned    an operation never ended
    no_progress  too little was acknowledged for the rest to mean anything
    """

    kind: Kind
    session: str
    elements: tuple[str, ...]
    """Those that it is about."""
    detail: str

    def __str__(self) -> str:
        return (
            f"{self.kind} in session {self.session!r}: {self.detail}" if self.session else f"{self.kind}: {self.detail}"
        )


def check(history: History, *, acknowledged_min: int = 1) -> list[Violation]:
    """Say everything in the history that must not be; an empty list when all is well.

    One fault may show several times: an element that is there twice also moves all that follow it.

    Args:
        acknowledged_min: So many appends must have been acknowledged in all, for a run in which nothing happened
            proves nothing.

    Raises:
        ValueError: The final elements of a session are missing, so that nothing can be said about it.
    """
    sessions = _sessions(history)
    violations = [violation for session in sessions for search in SEARCHES for violation in search(session)]
    acknowledged = sum(append.fate == "acknowledged" for append in history.appends)
    if acknowledged < acknowledged_min:
        detail = f"{acknowledged} appends were acknowledged, at least {acknowledged_min} were expected"
        violations.append(Violation("no_progress", "", (), detail))
    return violations


class _Element:
    """One element of a session, over all attempts to append it."""

    def __init__(self, attempts: Sequence[Append]) -> None:
        able = [attempt for attempt in attempts if attempt.fate != "not_applied"]
        acknowledged = [attempt for attempt in able if attempt.fate == "acknowledged"]
        self.name = attempts[0].element
        self.is_able = bool(able)
        """May be there."""
        self.began = min(attempt.began for attempt in able or attempts)
        self.ended = min((attempt.ended for attempt in acknowledged), default=inf)
        """When it was acknowledged first; infinity when it never was."""
        self.indexes = {attempt.index for attempt in acknowledged if attempt.index is not None}


class _Session:
    """One session of a history, with what several searches ask about it."""

    def __init__(self, name: str, history: History, appends: Iterable[Append], reads: Iterable[Read]) -> None:
        self.name = name
        self.final = history.finals[name]
        self.owners = history.owners
        self.appends = list(appends)
        self.reads = list(reads)
        attempts = defaultdict[str, list[Append]](list)
        for append in self.appends:
            attempts[append.element].append(append)
        self.elements = {element: _Element(tries) for element, tries in attempts.items()}
        self.places = {element: place for place, element in reversed(list(enumerate(self.final)))}
        """Where each element is first."""

    @cached_property
    def acknowledged(self) -> list[_Element]:
        return [element for element in self.elements.values() if element.ended < inf]

    @cached_property
    def returned(self) -> list[Read]:
        return [read for read in self.reads if read.fate == "returned"]

    @cached_property
    def prefixes(self) -> list[Read]:
        """The reads that saw the beginning of the final list."""
        return [read for read in self.returned if read.elements == self.final[: len(read.elements)]]

    def violation(self, kind: Kind, elements: Iterable[str], detail: str) -> Violation:
        return Violation(kind, self.name, tuple(elements), detail)


class _HighWater:
    """The highest number among all that had ended at some time."""

    def __init__(self, ended: Iterable[tuple[float, Ranked]]) -> None:
        in_order = sorted(ended)
        self._ends = [end for end, _ in in_order]
        self._highest = list(accumulate((ranked for _, ranked in in_order), max))

    def before(self, time: int) -> Ranked:
        """The highest of what had ended before this time; NONE when nothing had."""
        n = bisect_left(self._ends, time)
        return self._highest[n - 1] if n else NONE


def _sessions(history: History) -> list[_Session]:
    appends, reads = defaultdict[str, list[Append]](list), defaultdict[str, list[Read]](list)
    for append in history.appends:
        appends[append.session].append(append)
    for read in history.reads:
        reads[read.session].append(read)
    names = dict.fromkeys(chain(appends, reads, history.finals))
    if missing := [name for name in names if name not in history.finals]:
        raise ValueError(f"The final elements of {len(missing)} sessions are missing, such as {missing[0]!r}.")
    return [_Session(name, history, appends[name], reads[name]) for name in names]


def _duplicates(session: _Session) -> Iterator[Violation]:
    for where, elements in _lists(session):
        if len(set(elements)) == len(elements):
            continue
        seen = set[str]()
        for place, element in enumerate(elements):
            if element in seen:
                yield session.violation("duplicate", [element], f"{element!r} is in {where} again at {place}")
            seen.add(element)


def _foreigners(session: _Session) -> Iterator[Violation]:
    told = set[str]()
    for where, elements in _lists(session):
        for element in elements:
            if element not in session.elements and element not in told:
                told.add(element)
                owner = session.owners.get(element)
                origin = f"belongs to session {owner!r}" if owner is not None else "was never appended"
                yield session.violation("foreign", [element], f"{element!r} is in {where}, yet it {origin}")


def _lists(session: _Session) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The final list, and each that was read and is no prefix of it."""
    yield "the final list", session.final
    prefixes = set(map(id, session.prefixes))
    for read in session.returned:
        if id(read) not in prefixes:
            yield _name(read), read.elements


def _not_applied(session: _Session) -> Iterator[Violation]:
    for element in session.elements.values():
        if not element.is_able and element.name in session.places:
            detail = f"{element.name!r} is there, though its sender was told that nothing was applied"
            yield session.violation("not_applied", [element.name], detail)


def _lost(session: _Session) -> Iterator[Violation]:
    for element in session.acknowledged:
        if element.name not in session.places:
            yield session.violation("lost", [element.name], f"{element.name!r} was acknowledged and is not there")


def _misplaced(session: _Session) -> Iterator[Violation]:
    for element in session.acknowledged:
        place = session.places.get(element.name)
        for index in element.indexes:
            if place is not None and place != index:
                detail = f"{element.name!r} was acknowledged at {index} and is at {place}"
                yield session.violation("misplaced", [element.name], detail)


def _order(session: _Session) -> Iterator[Violation]:
    first_end = (inf, "")
    for name in sorted(session.places, key=session.places.__getitem__, reverse=True):
        element = session.elements.get(name)
        if element is None:
            continue
        end, later = first_end
        if element.began > end:
            detail = f"{name!r} stands before {later!r}, which was acknowledged before {name!r} was appended"
            yield session.violation("order", [name, later], detail)
        first_end = min(first_end, (element.ended, name))


def _no_prefix(session: _Session) -> Iterator[Violation]:
    prefixes = set(map(id, session.prefixes))
    for read in session.returned:
        if id(read) not in prefixes:
            yield session.violation("prefix", *_difference(read, session.final))


def _difference(read: Read, final: Sequence[str]) -> tuple[list[str], str]:
    pairs = enumerate(zip(read.elements, final, strict=False))
    place = next((i for i, (seen, there) in pairs if seen != there), len(final))
    seen = read.elements[place]
    instead = f"the final list has {final[place]!r}" if place < len(final) else "the final list ends before"
    return [seen], f"{_name(read)} saw {seen!r} at {place}, where {instead}"


def _stale(session: _Session) -> Iterator[Violation]:
    there = [element for element in session.acknowledged if element.name in session.places]
    due = _HighWater((element.ended, (session.places[element.name] + 1, element.name)) for element in there)
    for read in session.prefixes:
        length, element = due.before(read.began)
        if len(read.elements) < length:
            detail = f"{_name(read)} lacks {element!r}, which had been acknowledged when it began"
            yield session.violation("stale", [element], detail)


def _backward(session: _Session) -> Iterator[Violation]:
    seen = _HighWater((r.ended, (len(r.elements), r.elements[-1])) for r in session.prefixes if r.elements)
    for read in session.prefixes:
        length, element = seen.before(read.began)
        if len(read.elements) < length:
            detail = f"{_name(read)} lacks {element!r}, which an earlier read saw"
            yield session.violation("backward", [element], detail)


def _early(session: _Session) -> Iterator[Violation]:
    begins = ((session.elements[name].began, name) if name in session.elements else NONE for name in session.final)
    latest = list(accumulate(begins, max, initial=NONE))
    for read in session.prefixes:
        began, element = latest[len(read.elements)]
        if began > read.ended:
            detail = f"{_name(read)} saw {element!r}, whose append began after the read had ended"
            yield session.violation("early", [element], detail)


def _abandoned(session: _Session) -> Iterator[Violation]:
    for append in session.appends:
        if append.fate == "pending":
            detail = f"the append of {append.element!r}, begun at {append.began}, never ended"
            yield session.violation("abandoned", [append.element], detail)
    for read in session.reads:
        if read.fate == "pending":
            yield session.violation("abandoned", [], f"the read begun at {read.began} never ended")


def _name(read: Read) -> str:
    return f"the read from {read.began} to {read.ended}"


SEARCHES: Final[tuple[Callable[[_Session], Iterator[Violation]], ...]] = (
    _lost,
    _duplicates,
    _foreigners,
    _not_applied,
    _misplaced,
    _order,
    _no_prefix,
    _stale,
    _backward,
    _early,
    _abandoned,
)

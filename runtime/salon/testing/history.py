"""What the clients of append-only sessions did and saw, written down as it happens; `check` says whether it can be.

    append = history.append("s1", "a")          before the request leaves
    append.acknowledged(index=0)                after its reply; or not_applied(), or unknown()
    read = history.read("s1")                   before it is asked for
    read.returned(["a"])                        after it is there; or failed()
    history.process_died()                      what was under way ended unknown
    history.final("s1", ["a", "b"])             what is there when all is over
    assert check(history) == []

Elements are unique over all sessions, so that each tells where it belongs.
A client that tries again appends the same element once more, and that must not put it there twice.
The times are the order of the calls above, so all clients of one run share one history, from whichever threads.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from types import MappingProxyType
from typing import Literal, TypeAlias

AppendFate: TypeAlias = Literal["pending", "acknowledged", "not_applied", "unknown"]
ReadFate: TypeAlias = Literal["pending", "returned", "failed"]


@dataclass(slots=True, eq=False)
class Append:
    """One attempt to append one element. It ends once; a second end is a ValueError."""

    session: str
    element: str
    began: int
    tick: Callable[[], int] = field(repr=False)
    fate: AppendFate = "pending"
    ended: int = 0
    """0 while it is pending."""
    index: int | None = None
    """Where it was placed, counted from 0, if the reply says so."""

    def acknowledged(self, index: int | None = None) -> None:
        """The reply came: the element is there, for good."""
        self._end("acknowledged")
        self.index = index

    def not_applied(self) -> None:
        """The error promises that nothing happened, and that nothing will."""
        self._end("not_applied")

    def unknown(self) -> None:
        """Nobody can say whether it happened, or whether it still will."""
        self._end("unknown")

    def _end(self, fate: AppendFate) -> None:
        if self.fate != "pending":
            raise ValueError(f"This append of {self.element!r} has ended already: {self.fate}.")
        self.fate, self.ended = fate, self.tick()


@dataclass(slots=True, eq=False)
class Read:
    """One read of a whole session. It ends once; a second end is a ValueError."""

    session: str
    began: int
    tick: Callable[[], int] = field(repr=False)
    fate: ReadFate = "pending"
    ended: int = 0
    """0 while it is pending."""
    elements: tuple[str, ...] = ()

    def returned(self, elements: Sequence[str]) -> None:
        """All elements of the session, in order, were read."""
        self._end("returned")
        self.elements = tuple(elements)

    def failed(self) -> None:
        """Nothing was read."""
        self._end("failed")

    def _end(self, fate: ReadFate) -> None:
        if self.fate != "pending":
            raise ValueError(f"This read of {self.session!r} has ended already: {self.fate}.")
        self.fate, self.ended = fate, self.tick()


class History:
    """All that happened in one run, over all its sessions and, if it restarts, all its processes."""

    def __init__(self) -> None:
        self._tick: Callable[[], int] = count(1).__next__
        self._appends: list[Append] = []
        self._reads: list[Read] = []
        self._finals: dict[str, tuple[str, ...]] = {}
        self._owners: dict[str, str] = {}

    def append(self, session: str, element: str) -> Append:
        """An attempt to append begins.

        Raises:
            ValueError: The element belongs to another session, so it could not tell where it belongs.
        """
        owner = self._owners.setdefault(element, session)
        if owner != session:
            raise ValueError(f"{element!r} belongs to session {owner!r}; give session {session!r} elements of its own.")
        append = Append(session, element, self._tick(), self._tick)
        self._appends.append(append)
        return append

    def read(self, session: str) -> Read:
        """A read begins."""
        read = Read(session, self._tick(), self._tick)
        self._reads.append(read)
        return read

    def process_died(self) -> None:
        """What was under way has ended: appends unknown, reads failed."""
        for append in self._appends:
            if append.fate == "pending":
                append.unknown()
        for read in self._reads:
            if read.fate == "pending":
                read.failed()

    def final(self, session: str, elements: Sequence[str]) -> None:
        """What is there when all is over; once for each session.

        Raises:
            ValueError: It was said already.
        """
        if session in self._finals:
            raise ValueError(f"The final elements of session {session!r} are known already.")
        self._finals[session] = tuple(elements)

    @property
    def appends(self) -> Sequence[Append]:
        """All attempts, in the order in which they began."""
        return tuple(self._appends)

    @property
    def reads(self) -> Sequence[Read]:
        """All reads, in the order in which they began."""
        return tuple(self._reads)

    @property
    def finals(self) -> Mapping[str, tuple[str, ...]]:
        return MappingProxyType(self._finals)

    @property
    def owners(self) -> Mapping[str, str]:
        """The session of each element."""
        return MappingProxyType(self._owners)

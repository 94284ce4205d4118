"""The session that the proofs write to, and what its clients write down of it.

A notebook is a log of elements, beside a count and a digest of them that every turn brings up to date:
if fields and log ever part, or a turn sees half of another, the three no longer agree.
"""

import zlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel

from salon import Log, Message, OutcomeUnknown, Refused, SalonError, Session, SessionHandle, SessionView, receive
from salon.testing import Append as Attempt
from salon.testing import History


class Torn(Exception):
    """Count, digest and log of one notebook do not belong together."""


class Lines(BaseModel):
    count: int = 0
    digest: int = 0
    cover: bytes = b""
    """Of the last element that came with one: its name, and then as much as it weighs."""
    lines: Log[str] = Log(resident=8)


class Append(Message[int], name="append"):
    """Replies with the place of the element. `ends`: what the handler does once it has appended."""

    element: str
    takes_s: float = 0
    cover_bytes: int = 0
    """0 leaves the cover as it is."""
    ends: Literal["well", "refused", "raised"] = "well"


class ReadAll(Message[list[str]], name="read_all"):
    pass


def nobody_hears(element: str) -> None:
    """Nobody is told which handlers run."""


@dataclass(frozen=True)
class Desk:
    """What handlers need: a way to take their time, and somebody who hears which of them run."""

    sleep: Callable[[float], Awaitable[None]]
    began: Callable[[str], None] = nobody_hears
    busy: set[str] = field(default_factory=set[str])
    """Sessions of which a handler runs right now."""
    overlaps: list[str] = field(default_factory=list[str])
    """Sessions of which two ran at once."""


class Notebook(Session[Lines, Desk], name="notebook"):
    @receive
    async def append(self, message: Append) -> int:
        with Alone(self.deps, self.info.session_id):
            self.deps.began(message.element)
            place = len(self.state.lines)
            self.state.lines.append(message.element)
            if message.cover_bytes:
                self.state.cover = f"{message.element}:".encode().ljust(message.cover_bytes)
            await self._take(message.takes_s)
            self.state.count += 1
            self.state.digest = digest(message.element, self.state.digest)
            if message.ends == "refused":
                raise Refused("no")
            if message.ends == "raised":
                raise RuntimeError("no")
            return place

    async def _take(self, seconds: float) -> None:
        if seconds:
            await self.deps.sleep(seconds)

    @receive
    async def read_all(self, message: ReadAll) -> list[str]:
        with Alone(self.deps, self.info.session_id):
            return await elements_of(self.state)


class Alone:
    """Notes when two handlers of one session run at once."""

    def __init__(self, desk: Desk, session: str) -> None:
        self._desk = desk
        self._session = session

    def __enter__(self) -> None:
        if self._session in self._desk.busy:
            self._desk.overlaps.append(self._session)
        self._desk.busy.add(self._session)

    def __exit__(self, *_: object) -> None:
        self._desk.busy.discard(self._session)


def digest(element: str, before: int) -> int:
    return zlib.crc32(element.encode(), before)


async def elements_of(state: Lines) -> list[str]:
    """Every element, in order.

    Raises:
        Torn: Count and digest say something else.
    """
    elements = [element async for element in state.lines.scan()]
    if (state.count, state.digest) != (len(elements), digest_of(elements)):
        raise Torn(f"{state.count} turns left {len(elements)} elements, and the digest {state.digest}")
    if state.cover and state.cover.partition(b":")[0].decode() not in elements:
        raise Torn(f"the cover of another notebook: {state.cover[:40]!r}")
    return elements


def digest_of(elements: Sequence[str], before: int = 0) -> int:
    for element in elements:
        before = digest(element, before)
    return before


async def read(view: SessionView[Lines]) -> list[str]:
    """All elements of a notebook, as of the view."""
    return await elements_of(view.state)


def note(attempt: Attempt, error: BaseException | None, place: int | None = None) -> None:
    """How an attempt ended: every error of salon but OutcomeUnknown promises that nothing was applied."""
    if error is None:
        attempt.acknowledged(place)
    elif isinstance(error, SalonError) and not isinstance(error, OutcomeUnknown):
        attempt.not_applied()
    else:
        attempt.unknown()


class Client:
    """Asks one notebook, and writes down in the history what it did and saw."""

    def __init__(self, history: History, session: str, handle: SessionHandle[Lines]) -> None:
        self.history = history
        self.session = session
        self.handle = handle

    async def append(self, message: Append, timeout_s: float | None = None) -> SalonError | None:
        """The error that it met, if it was one of salon's. Cancelled: nobody knows what came of it."""
        attempt = self.history.append(self.session, message.element)
        try:
            place = await self.handle.ask(message, timeout_s=timeout_s)
        except SalonError as error:
            note(attempt, error)
            return error
        except BaseException as error:
            note(attempt, error)
            raise
        note(attempt, None, place)
        return None

    async def peek(self) -> Sequence[str] | None:
        """The committed state, beside whatever runs; None when it could not be read."""
        return await self._read(self._peeked)

    async def read(self) -> Sequence[str] | None:
        """What a turn reads; None when it could not."""
        return await self._read(lambda: self.handle.ask(ReadAll()))

    async def _peeked(self) -> list[str]:
        return await read(await self.handle.peek())

    async def _read(self, get: Callable[[], Awaitable[list[str]]]) -> Sequence[str] | None:
        attempt = self.history.read(self.session)
        try:
            elements = await get()
        except SalonError as error:
            attempt.failed()
            if isinstance(error.__cause__, Torn):
                raise error.__cause__ from error
            return None
        except BaseException:
            attempt.failed()
            raise
        attempt.returned(elements)
        return elements

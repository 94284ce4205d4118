"""Tickets: the live side of one accepted message, for the runtime that moves it on and for all who read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import JsonValue

from salon.bell import Bell
from salon.cursor import cursor, parse_cursor
from salon.errors import SalonError
from salon.events import Accepted, Chunk, Ending, TurnStatus, own_error
from salon.nesting import nested
from salon.reader import TicketReader
from salon.replay import Packed, Replay, ReplayBounds, kept_form, own_form
from salon.turn_id import turn_id
from salon_actors import HostLoop, Promise

_SHARED_CHUNKS = 64
"""Events kept for readers who want the same; a reader who is further behind makes his own."""


class Ticket:
    """One accepted message in this process; to be touched on the host loop only.

    The runtime's side never waits: `begin`, `emit`, `shown`, `end`. Readers look for themselves, each at his own pace.
    """

    __slots__ = (
        "_bell",
        "_bounds",
        "_ended",
        "_handed",
        "_host",
        "_replay",
        "_shared",
        "_status",
        "attempt",
        "durable",
        "ending",
        "loss",
        "merged_into",
        "number",
        "position",
        "seq",
        "shown_seq",
        "sid",
        "turn",
        "watchers",
    )

    def __init__(
        self, host: HostLoop, number: int, *, position: int = 0, bounds: ReplayBounds, durable: bool = False
    ) -> None:
        """A message that waits.

        Args:
            number: Of its turn.
            position: How many messages were before it when it was accepted.
            durable: Chunks are shown by `shown`, when the store has them; otherwise at once.
        """
        self._host = host
        self._bounds = bounds
        self.number = number
        self.turn = turn_id(number)
        self.position = position
        self.sid = 0
        """Whose turn it is."""
        self.durable = durable
        self.attempt = 0
        """Of the handler, from 1; 0 before the first."""
        self.seq = 0
        """Number of the attempt's newest chunk, from 1; 0 before the first."""
        self.shown_seq = 0
        """Number of the newest chunk that readers may see."""
        self._handed = 0
        self._status: TurnStatus = "queued"
        self.ending: Ending | None = None
        """How it ended, as soon as it has."""
        self.loss: SalonError | None = None
        """Why this process hears no more of it, though it has not ended."""
        self.merged_into: Ticket | None = None
        """The one that answers for this one too."""
        self.watchers: Bell | None = None
        """Rung for those who watch the whole session."""
        self._replay: Replay | None = None
        self._bell: Bell | None = None
        self._ended: Promise[None] | None = None
        self._shared: dict[int, Chunk] | None = None

    # The runtime's side

    def begin(self, attempt: int) -> None:
        """The handler begins. What an earlier attempt has emitted is forgotten, and readers are told so."""
        self._status = "running"
        if attempt != self.attempt:
            self.attempt = attempt
            self.seq = self.shown_seq = self._handed = 0
            self._replay = self._shared = None
        self._tell()

    def put_back(self) -> None:
        """The attempt has failed and another one will follow; until then its chunks stay readable."""
        self._status = "queued"

    def restore(self, attempt: int, chunks: Sequence[JsonValue]) -> None:
        """It had begun in an earlier life of the process, and these chunks were durable."""
        self.begin(attempt)
        for data in chunks:
            self.emit(data)
        self._handed = self.seq
        self.shown(self.seq)
        self.put_back()

    def emit(self, data: JsonValue) -> int:
        """Keeps one more chunk, by value, and returns its number.

        Raises:
            ValueError: The data is not what JSON can hold.
        """
        assert self.ending is None
        kept = kept_form(data)
        if (replay := self._replay) is None:
            replay = self._replay = Replay(self._bounds)
        replay.append(kept)
        self.seq = seq = self.seq + 1
        if not self.durable:
            self.shown_seq = seq
            replay.trim(seq)
            self._tell()
        return seq

    def unshown(self) -> list[JsonValue]:
        """The chunks that were not handed to the store yet, the last of them is `seq`; they count as handed now."""
        if self._replay is None:
            return []
        start = max(self._handed + 1, self._replay.first)
        self._handed = self.seq
        return self._replay.since(start)

    def take_back(self) -> None:
        """The store did not take what was handed to it: what is not shown counts as not handed over."""
        self._handed = self.shown_seq

    @property
    def backlog(self) -> int:
        """How many chunks readers may not see yet; they are kept whatever the bounds say."""
        return self.seq - self.shown_seq

    def shown(self, upto_seq: int) -> None:
        """The chunks up to this number are durable: readers may see them."""
        if self._replay is not None and self.shown_seq < upto_seq:
            self.shown_seq = min(upto_seq, self.seq)
            self._replay.trim(self.shown_seq)
            self._tell()

    def emitted(self) -> list[JsonValue] | None:
        """All chunks of the attempt, shown or not; None when the bounds have not let it keep them."""
        if self._replay is None:
            return []
        return self._replay.since(1) if self._replay.first == 1 else None

    def end(self, ending: Ending) -> bool:
        """It has ended, durably; False when it had ended before, which then stands.

        All chunks of a turn that is done are shown; of another one those stay unseen that were not shown before.
        """
        if self.ending is not None:
            return False
        if ending.error is None:
            self.shown(self.seq)
        self._status = ending.status
        self.ending = ending
        self._tell_of_end()
        return True

    def lose(self, error: SalonError) -> None:
        """This process hears no more of it, as when the runtime closes; all who wait get `error`."""
        if self.ending is None and self.loss is None:
            self.loss = error
            self._tell_of_end()

    def merge_into(self, leader: Ticket) -> None:
        """The message becomes part of another turn, whose events and outcome are this one's too.

        Raises:
            ValueError: The leader follows this very ticket.
        """
        if leader.leader is self:
            raise ValueError(f"Turn {leader.turn} follows {self.turn} already.")
        self.merged_into = leader
        self._tell_of_end()

    def lead(self) -> None:
        """The message has a turn of its own after all, which others may be merged into."""
        before, self.merged_into = self.leader, None
        self._tell_of_end()
        before._tell_of_end()  # whoever waits for this one has waited there

    def forget_chunks(self) -> None:
        """Lets the chunks go; readers that have not seen them learn that and the outcome."""
        if self._replay is not None:
            self._replay.forget()
        self._shared = None

    @property
    def kept_bytes(self) -> int:
        """About as much memory as its chunks and its reply take."""
        reply_bytes = 0 if self.ending is None else self.ending.reply_bytes
        return reply_bytes + (0 if self._replay is None else self._replay.bytes)

    @property
    def listeners(self) -> int:
        """Readers who wait for something new at this moment."""
        return 0 if self._bell is None else self._bell.listeners

    def _tell(self) -> None:
        if self._bell is not None:
            self._bell.ring()
        if self.watchers is not None:
            self.watchers.ring()

    def _tell_of_end(self) -> None:
        self._tell()
        if self._ended is not None:
            self._ended.set_result(None)
            self._ended = None

    # The readers' side

    @property
    def leader(self) -> Ticket:
        """The ticket whose turn it is: this one, or the one that it was merged into."""
        ticket = self
        while ticket.merged_into is not None:
            ticket = ticket.merged_into
        return ticket

    @property
    def status(self) -> TurnStatus:
        return self.leader._status

    def read(self, after: str | None = None) -> TicketReader:
        """A reader: what is kept behind the cursor, then what comes.

        Raises:
            ValueError: `after` is no cursor, or one of another turn.
        """
        place = None if after is None else parse_cursor(after, self.turn, self.leader.turn)
        return TicketReader(self, place)

    async def ended(self) -> Ending:
        """Wait for the end, however it is.

        Raises:
            SalonError: This process hears no more of it, such as Draining.
            DeadlockError: In a turn: its session waits for the one that waits here.

        Cancellation: only this one stops waiting.
        """
        while (ending := (ticket := self.leader).ending) is None:
            if ticket.loss is not None:
                raise own_error(ticket.loss)
            if ticket._ended is None:
                ticket._ended = ticket._host.promise()
            with nested(self._host, self.sid):
                await ticket._ended
        return ending

    async def wait(self) -> Any:
        """The reply; raises what `ask` raises, and like `ended`."""
        return (await self.ended()).result()

    async def heard(self) -> None:
        """Wait until there is something new to read."""
        if self._bell is None:
            self._bell = Bell(self._host)
        with nested(self._host, self.sid):
            await self._bell.heard()

    @property
    def first_seq(self) -> int:
        """From this chunk on everything is kept."""
        return 1 if self._replay is None else self._replay.first

    def accepted(self) -> Accepted:
        merged_into = None if self.merged_into is None else self.leader.turn
        return Accepted(id=cursor(self.turn, 0, 0), turn=self.turn, position=self.position, merged_into=merged_into)

    def chunk(self, seq: int) -> Chunk:
        """One that is kept. Readers share it when it cannot be changed: they tend to want the same at the same time."""
        assert self._replay is not None
        shared = self._shared_chunks()
        chunk = shared.get(seq % _SHARED_CHUNKS)
        if chunk is not None and chunk.seq == seq:
            return chunk
        kept = self._replay.kept(seq)
        place = cursor(self.turn, self.attempt, seq)
        chunk = Chunk(id=place, turn=self.turn, attempt=self.attempt, seq=seq, data=own_form(kept))
        if not isinstance(kept, Packed):
            shared[seq % _SHARED_CHUNKS] = chunk
        return chunk

    def _shared_chunks(self) -> dict[int, Chunk]:
        if self._shared is None:
            self._shared = {}
        return self._shared

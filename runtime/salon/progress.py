"""Progress: what a running turn shows and keeps before its end: chunks, checkpoints, results of steps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeVar

from anyio.lowlevel import checkpoint
from pydantic import BaseModel, JsonValue, TypeAdapter

from salon import errors
from salon.checkpoint import Checkpoint
from salon.closing import steps_owner
from salon.conversation import Conversation
from salon.replay import kept_form, own_form, size_bytes
from salon_persistence import codec
from salon_persistence.records import CHECKPOINT, CHUNKS, Mail, NoteRecord, ProgressRow, StepRow
from salon_persistence.store import Applied, Outcome

if TYPE_CHECKING:
    from salon.cutting import Cutting
    from salon.frame import Frame
    from salon.intake import Intake
    from salon.settings import Settings
    from salon.ticket import Ticket
    from salon.wall import Wall
    from salon_actors import Clock, HostLoop, Promise
    from salon_persistence.bridge import Bridge

R = TypeVar("R")

BACKLOG_MAX = 256
"""Chunks that the store may still have to write before `emit` waits for it: a second of a quick model."""
REST_EVERY = 64
"""Chunks after which `emit` lets others run, for a handler that awaits nothing else."""


class Progress:
    """What the verbs of a turn do. For an ask all of it is kept in memory: nobody could use it after a crash."""

    def __init__(
        self,
        host: HostLoop,
        bridge: Bridge,
        intake: Intake,
        cutting: Cutting,
        clock: Clock,
        wall: Wall,
        settings: Settings,
    ) -> None:
        self._host = host
        self._bridge = bridge
        self._intake = intake
        self._cutting = cutting
        self._monotonic = clock.monotonic
        self._wall = wall
        self._doing: dict[tuple[Frame, str], Promise[None]] = {}
        """Steps that run, by their turn and their key."""
        self._state_bytes_max = settings.state_bytes_max
        self._chunk_bytes_max = settings.message_bytes_max

    # Chunks

    async def emit(self, frame: Frame, chunk: JsonValue | BaseModel) -> None:
        data = chunk.model_dump(mode="json") if isinstance(chunk, BaseModel) else chunk
        kept = kept_form(data)
        size = size_bytes(kept)
        self._check_room(frame, size)
        if frame.checkpoint is None and isinstance(frame.draft.state, Conversation):
            await self.checkpoint(frame)  # whoever sees the answer has said the words before it
            frame.check("self.turn")
        ticket = self._intake.followed(frame.resident, frame.envelope).ticket
        seq = ticket.emit(data)
        frame.emitted = frame.emitted or []
        frame.emitted.append(own_form(kept))
        frame.emitted_bytes += size
        if ticket.durable:
            if frame.writing is None:
                self._write(frame, ticket, seq)
            while ticket.backlog > BACKLOG_MAX and frame.writing is not None:
                await frame.writing
        if seq % REST_EVERY == 0:
            await checkpoint()

    def _check_room(self, frame: Frame, size: int) -> None:
        if size > self._chunk_bytes_max:
            raise errors.PayloadTooLarge("A chunk", size, self._chunk_bytes_max)
        if frame.emitted_bytes + size > self._state_bytes_max:
            raise errors.PayloadTooLarge("What the turn has emitted", frame.emitted_bytes + size, self._state_bytes_max)

    def _write(self, frame: Frame, ticket: Ticket, seq: int) -> None:
        """Everything that waits, in one row; what is emitted meanwhile is the next one."""
        frame.writing = self._host.promise()
        chunks = ticket.unshown()
        row = ProgressRow(frame.envelope.number, CHUNKS, seq - len(chunks) + 1, codec.pack(chunks))
        self._hand_over(frame, row, lambda outcome: self._written(frame, ticket, seq, outcome))

    def _hand_over(self, frame: Frame, row: ProgressRow, done: Callable[[Outcome], None]) -> None:
        resident = frame.resident
        note = NoteRecord(sid=resident.sid, generation=resident.generation, mail=Mail(progress=(row,)))
        self._bridge.commit(note, done)

    def _written(self, frame: Frame, ticket: Ticket, seq: int, outcome: Outcome) -> None:
        writing, frame.writing = frame.writing, None
        if isinstance(outcome, Applied):
            ticket.shown(seq)
            if ticket.seq > seq and not frame.over:
                self._write(frame, ticket, ticket.seq)
        else:  # they stay unseen, and go along with the next ones
            ticket.take_back()
        if writing is not None:
            writing.set_result(None)

    # Checkpoints

    async def checkpoint(self, frame: Frame) -> None:
        resident = frame.resident
        changes = frame.draft.changes(self._state_bytes_max)
        schema = resident.cls.salon_type.schema_version
        checkpoint = Checkpoint.of(resident.image.version, schema, changes)
        sending = frame.envelope.sending
        try:
            if sending is None or sending.row is None:
                frame.checkpoint = checkpoint
            else:
                await self._store(frame, checkpoint)
        finally:
            self._cutting.checkpointed(resident, frame.envelope)

    async def _store(self, frame: Frame, checkpoint: Checkpoint) -> None:
        row = ProgressRow(frame.envelope.number, CHECKPOINT, 0, checkpoint.encode(frame.resident.sid))
        frame.is_checkpointing = True
        try:
            await self._intake.note(frame.resident, Mail(progress=(row,)))
            frame.checkpoint = checkpoint
        finally:
            frame.is_checkpointing = False

    # Steps

    async def once(self, frame: Frame, key: str, fn: Callable[[], Awaitable[R]], result: type[R]) -> R:
        adapter: TypeAdapter[R] = TypeAdapter(result)
        sending = self._intake.followed(frame.resident, frame.envelope)
        owner = steps_owner(frame.envelope)
        stored = sending.steps
        if stored is None:
            stored = sending.steps = self._steps_of(frame, owner)
        while key not in stored:
            doing = self._doing.get((frame, key))
            if doing is not None:
                await doing  # another task of the turn; should it fail, this one tries
                continue
            doing = self._doing[frame, key] = self._host.promise()
            try:
                data = _encoded(frame, adapter, key, await fn())
                frame.check("self.turn")
                stored[key] = await self._kept(frame, owner, key, data)
            finally:
                del self._doing[frame, key]
                doing.set_result(None)
        return adapter.validate_python(codec.unpack(stored[key]), by_name=True, by_alias=False)

    async def _kept(self, frame: Frame, owner: str | None, key: str, data: bytes) -> bytes:
        if owner is not None:
            row = StepRow(owner, key, data, self._wall.now_us(self._monotonic()))
            await self._intake.note(frame.resident, Mail(steps=(row,)))
            steps = self._intake.inbox_of(frame.resident).steps
            steps[owner] = {**steps.get(owner, {}), key: data}
        return data

    def _steps_of(self, frame: Frame, owner: str | None) -> dict[str, bytes]:
        """Those of an earlier attempt, perhaps of an earlier process."""
        if owner is None or frame.resident.inbox is None:
            return {}
        return {**frame.resident.inbox.steps.get(owner, {})}

    def token(self, frame: Frame, step: str) -> str:
        """128 bits of a digest: the same for every attempt, and for every send with the same key."""
        whose = steps_owner(frame.envelope) or frame.envelope.turn_id
        name = codec.pack([frame.resident.row().uid, whose, step])
        return blake2b(name, digest_size=16, person=b"salon.token").hexdigest()


def _encoded(frame: Frame, adapter: TypeAdapter[Any], key: str, value: object) -> bytes:
    try:
        data = codec.pack(adapter.dump_python(value, mode="python", round_trip=True, by_alias=False, warnings="error"))
        adapter.validate_python(codec.unpack(data), by_name=True, by_alias=False)
    except (TypeError, ValueError) as error:
        handler = frame.envelope.handler.name
        raise errors.TurnFailed(handler, f"{type(error).__name__} about the result of once({key!r})") from None
    return data

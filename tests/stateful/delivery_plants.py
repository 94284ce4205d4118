"""Bugs in delivery, planted on purpose: a machine that does not find them is worth nothing."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from salon import closing, gate, intake
from salon.gate import Gate
from salon.held import Held
from salon.intake import Intake
from salon.progress import Progress
from salon.resident import Resident
from salon.ticket import Ticket
from salon.turn_envelope import TurnEnvelope
from salon.view import SessionView
from salon_persistence.records import InboxRow, LedgerEntry, Mail, TurnRecord


def settle_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn commits, and its message stays in the inbox."""
    settled = closing.settled

    def forget(held: Held, staged: Any) -> Mail | None:
        mail = settled(held, staged)
        return None if mail is None else replace(mail, inbox_settled=())

    monkeypatch.setattr(gate, "settled", forget)


def begun_before_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler begins, and nothing durable says so until its turn is over."""
    note = Intake.note

    async def later(self: Intake, resident: Resident, mail: Mail) -> None:
        if not mail.inbox_started:
            await note(self, resident, mail)

    monkeypatch.setattr(Intake, "note", later)
    monkeypatch.setattr(Intake, "_begins_at_once", _never)


def _never(self: Intake, resident: Resident, envelope: TurnEnvelope) -> bool:
    return False


def key_in_a_second_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record under its key comes with the next turn of the session."""
    late: dict[Resident, Sequence[LedgerEntry]] = {}
    add_delivery = Gate._add_delivery  # pyright: ignore[reportPrivateUsage]

    def put_off(self: Gate, held: Held, record: TurnRecord) -> None:
        add_delivery(self, held, record)
        due, late[held.resident] = late.get(held.resident, ()), record.ledger
        record.ledger = due

    monkeypatch.setattr(Gate, "_add_delivery", put_off)


def shown_before_durable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers see a chunk as soon as it is emitted."""
    emit = Ticket.emit

    def show(self: Ticket, data: Any) -> int:
        seq = emit(self, data)
        self.shown(seq)
        return seq

    monkeypatch.setattr(Ticket, "emit", show)


def checkpoint_is_peeked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a turn has put into a checkpoint is shown as if it were committed."""
    init: Callable[[SessionView[Any], Resident], None] = SessionView.__init__  # pyright: ignore
    kept = dict[int, Any]()
    checkpoint = Progress.checkpoint

    async def remember(self: Progress, frame: Any) -> None:
        await checkpoint(self, frame)
        kept[frame.resident.sid] = frame

    def show(self: SessionView[Any], resident: Resident) -> None:
        init(self, resident)
        frame = kept.get(resident.sid)
        if frame is not None and not frame.over and frame.resident is resident:
            self._state = frame.draft.state  # pyright: ignore[reportPrivateUsage]

    monkeypatch.setattr(Progress, "checkpoint", remember)
    monkeypatch.setattr(SessionView, "__init__", show)


def row_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The inbox forgets under which key a message was told."""
    monkeypatch.setattr(intake, "InboxRow", _keyless)


def _keyless(**fields: Any) -> InboxRow:
    return replace(InboxRow(**fields), key=None)


def acceptance_before_durable(monkeypatch: pytest.MonkeyPatch) -> None:
    """`tell` returns before its message is in the inbox."""
    write = Intake._write  # pyright: ignore[reportPrivateUsage]

    def promise_early(self: Intake, *args: Any) -> Any:
        promised = write(self, *args)
        promised.set_result(None)
        return promised

    monkeypatch.setattr(Intake, "_write", promise_early)


PLANTS = (
    (settle_forgotten, "is doubled|, and now it is|begins twice|is left of messages"),
    (begun_before_marked, "begins twice"),
    (key_in_a_second_commit, "met NotApplied|is doubled|, and now it is"),
    pytest.param(shown_before_durable, "was shown than is kept", marks=pytest.mark.slow),
    (checkpoint_is_peeked, "is seen alone"),
    (row_without_a_key, "is doubled|, and now it is"),
    pytest.param(acceptance_before_durable, "met NotApplied", marks=pytest.mark.slow),
)
"""And as what the machine finds each; for the slow ones it takes a few hundred programs."""

"""Bugs as runtimes have had them, planted on purpose: a simulation that does not find them is worth nothing."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from salon import NotApplied, errors
from salon.activation import Residents
from salon.draft import Draft
from salon.gate import Gate
from salon.held import Held
from salon.resident import Resident
from salon.turns import Turns
from salon.view import SessionView
from salon_actors import Raised, Returned
from salon_persistence.image import SessionImage
from salon_persistence.store import Unknown


@dataclass(frozen=True, slots=True)
class Plant:
    name: str
    plant: Callable[[pytest.MonkeyPatch], None]
    workload: str
    fault: str
    found_as: str
    """In the text of a problem."""


def reply_before_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    hold = Gate.hold

    def answer_first(self: Gate, held: Held, now_us: int) -> None:
        held.envelope.promise.set_result(held.reply)
        hold(self, held, now_us)

    monkeypatch.setattr(Gate, "hold", answer_first)


def no_rollback(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a handler did before it raised is committed; only the caller hears that it was not."""
    finish = Turns.finish

    def commit_anyway(self: Turns, resident: Resident, envelope: Any, ending: Any, /) -> bool:
        if not isinstance(ending, Raised) or isinstance(ending.error, errors.SalonError) or envelope.frame is None:
            return finish(self, resident, envelope, ending)
        envelope.promise.set_exception(errors.TurnFailed("handler", "RuntimeError"))
        return finish(self, resident, envelope, Returned(0))

    monkeypatch.setattr(Turns, "finish", commit_anyway)


def shared_draft(monkeypatch: pytest.MonkeyPatch) -> None:
    """Now and then a session begins its turn on what another one has just read."""
    begin, last = Resident.begin, list[Resident]()

    def begin_elsewhere(self: Resident) -> Draft:
        last.append(self)
        other = last[-2] if len(last) % 7 == 0 else self
        if other is not self and other.image.version == self.image.version:
            self.image.logs = other.image.logs
        return begin(self)

    monkeypatch.setattr(Resident, "begin", begin_elsewhere)


def two_incarnations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks for a session gets one of his own."""

    def remember_nobody(self: Residents, resident: Resident) -> Resident:
        return resident

    monkeypatch.setattr(Residents, "add", remember_nobody)


def peek_at_the_draft(monkeypatch: pytest.MonkeyPatch) -> None:
    begin: Callable[[Resident], Draft] = Resident.begin
    init: Callable[[SessionView[Any], Resident], None] = SessionView.__init__  # pyright: ignore
    drafts: dict[Resident, Draft] = {}

    def remember(self: Resident) -> Draft:
        draft = drafts[self] = begin(self)
        return draft

    def show_draft(self: SessionView[Any], resident: Resident) -> None:
        monkeypatch.setattr(Resident, "begin", begin)
        init(self, resident)
        monkeypatch.setattr(Resident, "begin", remember)
        draft = drafts.get(resident)
        if draft is not None and resident.worker is not None:
            self._state = draft.state  # pyright: ignore

    monkeypatch.setattr(Resident, "begin", remember)
    monkeypatch.setattr(SessionView, "__init__", show_draft)


def unknown_called_not_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = Gate.refusal

    def sure(self: Gate, resident: Any, outcome: Any) -> errors.SalonError:
        error = refusal(self, resident, outcome)
        return NotApplied("surely") if isinstance(outcome, Unknown) else error

    monkeypatch.setattr(Gate, "refusal", sure)


def unknown_not_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an unknown commit the session goes on from what it remembers."""
    refusal = Gate.refusal

    def go_on(self: Gate, resident: Any, outcome: Any) -> errors.SalonError:
        return refusal(self, None, outcome)

    monkeypatch.setattr(Gate, "refusal", go_on)


def snapshot_forgets_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = SessionImage.snapshot

    def forget(self: SessionImage, sid: int, redacted: Any) -> Any:
        record = snapshot(self, sid, redacted)
        return replace(record, pages=record.pages[1:])

    monkeypatch.setattr(SessionImage, "snapshot", forget)


PLANTS = (
    Plant("reply_before_commit", reply_before_commit, "chat_steady", "store_refuses", "lost in session"),
    Plant("reply_before_death", reply_before_commit, "chat_steady", "process_dies", "lost in session"),
    Plant("no_rollback", no_rollback, "chat_steady", "none", "not_applied in session"),
    Plant("two_incarnations", two_incarnations, "one_hot_session", "none", "two handlers"),
    Plant("peek_at_the_draft", peek_at_the_draft, "chat_steady", "none", "turns left"),
    Plant("unknown_called_not_applied", unknown_called_not_applied, "chat_steady", "reads_fail", "duplicate"),
    Plant("unknown_not_read_back", unknown_not_read_back, "chat_steady", "store_does_not_say", "met Fenced"),
    Plant("snapshot_forgets_a_page", snapshot_forgets_a_page, "long_conversation", "process_restarts", "Corrupt"),
    Plant("shared_draft", shared_draft, "chat_steady", "none", "lost in session"),
)

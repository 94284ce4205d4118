"""One session's outbox: what is still to leave, in order, and what the store has still to hear about it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING

from salon_persistence.records import DeadLetterRow, Mail, OutboxRow

if TYPE_CHECKING:
    from salon.resident import Resident


class Stage(Enum):
    """Where the head of a queue is."""

    IDLE = "idle"
    """Nobody has looked at it."""
    READY = "ready"
    """It may be delivered, when others have been."""
    DELIVERING = "delivering"
    WAITING = "waiting"
    """It failed, and is tried again later."""
    HELD = "held"
    """The store has to know something of it before anything else happens."""


class OutboxQueue:
    """Only its head is ever decoded."""

    __slots__ = (
        "_letters",
        "_perhaps_written",
        "_rows",
        "_settled",
        "_suspect",
        "_tried",
        "_unanswered",
        "resident",
        "stage",
        "then",
    )

    def __init__(self, resident: Resident) -> None:
        self.resident = resident
        self.stage = Stage.IDLE
        self.then: Callable[[], None] = _nothing
        """What follows when the store knows all, while the head is held."""
        self._rows: deque[OutboxRow] = deque()
        self._suspect = -1
        """Rows up to this number come from the store: whether they were tried before, it may not know."""
        self._settled: dict[int, None] = {}
        self._tried: dict[int, tuple[int, int | None]] = {}
        self._letters: list[DeadLetterRow] = []
        self._perhaps_written: list[str] = []
        self._unanswered: Mail | None = None

    def __len__(self) -> int:
        """Rows that are still to leave."""
        return len(self._rows)

    @property
    def head(self) -> OutboxRow:
        return self._rows[0]

    @property
    def is_over(self) -> bool:
        """Nothing is to leave, and the store knows all."""
        return not self._rows and not self.wants_note and self._unanswered is None

    @property
    def is_suspect(self) -> bool:
        """The head may have been tried by a process that died of it."""
        return self.head.number <= self._suspect

    def trust(self) -> None:
        """That the head is tried is known from now on."""
        self._suspect = self.head.number - 1

    def add(self, rows: Iterable[OutboxRow], *, restored: bool) -> None:
        """Rows of a commit; or, restored, those that the store holds, of which some may be known."""
        known = {row.number for row in self._rows} | self._settled.keys() if restored else set[int]()
        if restored and self._unanswered is not None:
            known.update(self._unanswered.outbox_settled)
        new = [row for row in rows if row.number not in known]
        if not new:
            return
        is_late = bool(self._rows) and new[0].number < self._rows[-1].number
        self._rows.extend(new)
        if is_late:
            self._sort()
        if restored:
            self._suspect = max(self._suspect, new[-1].number)

    def _sort(self) -> None:
        """A head that was looked at stays the head."""
        kept = [] if self.stage is Stage.IDLE else [self._rows.popleft()]
        self._rows = deque([*kept, *sorted(self._rows, key=lambda row: row.number)])

    def tried(self, attempts: int, due_us: int | None) -> None:
        """The head has been tried so many times, and is not to be tried before then."""
        row = self._rows[0] = replace(self.head, attempts=attempts, due_us=due_us)
        self._tried[row.number] = attempts, due_us

    def settle(self, letter: DeadLetterRow | None = None) -> None:
        """The head has left; or it never will, and is a dead letter."""
        row = self._rows.popleft()
        self._tried.pop(row.number, None)
        self._settled[row.number] = None
        if letter is not None:
            self._letters.append(letter)

    @property
    def wants_note(self) -> bool:
        return bool(self._settled or self._tried or self._letters)

    @property
    def is_noting(self) -> bool:
        """A note is with the store; what happens meanwhile is one more, not many."""
        return self._unanswered is not None

    def note(self) -> Mail:
        """All that the store has to hear."""
        tried = [(number, attempts, due_us) for number, (attempts, due_us) in self._tried.items()]
        mail = Mail(
            outbox_tried=tried,
            outbox_settled=list(self._settled),
            dead_letters_dropped=self._perhaps_written,
            dead_letters=self._letters,
        )
        self._settled, self._tried, self._letters, self._perhaps_written = {}, {}, [], []
        self._unanswered = mail
        return mail

    def noted(self) -> None:
        """The store has it."""
        self._unanswered = None

    def unnoted(self) -> None:
        """The store has not taken it: it goes with the next note, unless something newer is known."""
        mail, self._unanswered = self._unanswered, None
        assert mail is not None
        self._settled = dict.fromkeys([*mail.outbox_settled, *self._settled])
        older = {number: (attempts, due_us) for number, attempts, due_us in mail.outbox_tried}
        self._tried = {
            number: tried for number, tried in {**older, **self._tried}.items() if number not in self._settled
        }
        self._letters = [*mail.dead_letters, *self._letters]
        # The store may not know whether it has written them; written again under their ids, they would be refused.
        self._perhaps_written = [letter.id for letter in mail.dead_letters]


def _nothing() -> None:
    """Nothing is held."""

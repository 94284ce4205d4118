"""A store on paper, for what hands notes to a bridge: it does what it is told, late or never."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

from salon_actors import HostLoop
from salon_persistence.records import DeadLetterRow, NoteRecord, OutboxRow, Record
from salon_persistence.store import Applied, Outcome, Unknown


class PaperBridge:
    """Keeps the outbox of every session; answers each note as the test says, `Applied` by default.

    What it answers Unknown for it has done; what it refuses it has not.
    """

    def __init__(self, host: HostLoop, rows: Iterable[tuple[int, OutboxRow]] = ()) -> None:
        self._host = host
        self.rows = {row.number: (sid, row) for sid, row in rows}
        self.letters: list[DeadLetterRow] = []
        self.notes: list[NoteRecord] = []
        self.answers: list[Outcome] = []
        """For the notes to come, in their order."""
        self.is_slow = False
        self._waiting: list[Callable[[], None]] = []
        self._life = 0

    def commit(self, record: Record, done: Callable[[Outcome], None]) -> None:
        assert isinstance(record, NoteRecord)
        self.notes.append(record)
        self._waiting.append(partial(self._answer, self._life, record, done))
        if not self.is_slow:
            self.write()

    def write(self) -> None:
        """Write all that was handed over."""
        for answer in self._waiting:
            self._host.post(answer)
        self._waiting = []

    def live_on(self, host: HostLoop) -> None:
        """Answers go to the next process."""
        self._host = host

    def lose(self) -> None:
        """The process was killed: what was handed over and not written never will be."""
        self._life += 1
        self._waiting = []
        self.is_slow = False

    def of(self, sid: int) -> Sequence[OutboxRow]:
        """What a load would bring."""
        return [row for _, (owner, row) in sorted(self.rows.items()) if owner == sid]

    def _answer(self, life: int, record: NoteRecord, done: Callable[[Outcome], None]) -> None:
        if life != self._life:
            return
        answer = self.answers.pop(0) if self.answers else Applied(record.sid, 0)
        if isinstance(answer, Applied | Unknown):
            self._do(record)
        done(answer)

    def _do(self, record: NoteRecord) -> None:
        mail = record.mail
        self.letters = [letter for letter in self.letters if letter.id not in mail.dead_letters_dropped]
        for number, attempts, due_us in mail.outbox_tried:
            if number in self.rows:
                sid, row = self.rows[number]
                self.rows[number] = sid, replace(row, attempts=attempts, due_us=due_us)
        for number in mail.outbox_settled:
            assert self.rows.pop(number, (record.sid,))[0] == record.sid
        for letter in mail.dead_letters:
            assert letter.id not in {known.id for known in self.letters}
            self.letters.append(letter)

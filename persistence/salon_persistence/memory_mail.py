"""The mail that a `MemoryFile` keeps: the same lines as in the tables of SQLite, and the same answers."""

from collections.abc import Container, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from salon_persistence.errors import RecordRefused
from salon_persistence.parcel import LetterLine, Line, Parcel


class Box:
    """Lines of inbox or outbox, by number and by session."""

    def __init__(self) -> None:
        self.lines: dict[int, Line] = {}
        self._numbers: dict[int, set[int]] = {}

    def add(self, line: Line) -> None:
        self.lines[line[0]] = line
        self._numbers.setdefault(line[1], set()).add(line[0])

    def change(self, sid: int, number: int, attempts: int | None, due_us: int | None) -> None:
        """Attempts None: as they were."""
        line = self.lines.get(number)
        if line is not None and line[1] == sid:
            self.lines[number] = (number, sid, line[2] if attempts is None else attempts, due_us, line[4])

    def drop(self, sid: int, number: int) -> None:
        if self.holds(sid, number):
            del self.lines[number]
            self._numbers[sid].discard(number)
            if not self._numbers[sid]:
                del self._numbers[sid]

    def holds(self, sid: int, number: int) -> bool:
        return number in self._numbers.get(sid, ())

    def of(self, sid: int) -> list[tuple[int, int, int | None, bytes]]:
        """(number, attempts, due_us, body) in the order of numbers."""
        numbers = sorted(self._numbers.get(sid, ()))
        return [(number, attempts, due_us, body) for number, _, attempts, due_us, body in map(self._line, numbers)]

    def sids(self) -> Iterable[int]:
        return self._numbers

    def _line(self, number: int) -> Line:
        return self.lines[number]


@dataclass(slots=True)
class Posting:
    """A parcel, and what became of its messages to other sessions."""

    parcel: Parcel
    arriving: list[Line] = field(default_factory=list[Line])
    letters: list[LetterLine] = field(default_factory=list[LetterLine])
    undelivered: list[int] = field(default_factory=list[int])


class MemoryMail:
    """Of all sessions of a file."""

    def __init__(self) -> None:
        self.inbox = Box()
        self.outbox = Box()
        self._progress: dict[int, dict[tuple[int, int], bytes]] = {}
        self._steps: dict[int, dict[tuple[str, str], tuple[int, bytes]]] = {}
        self._letters: dict[str, tuple[int, LetterLine]] = {}
        """By id, oldest first, with their places."""
        self._place = 0

    def progress_of(self, sid: int) -> list[tuple[int, int, int, bytes]]:
        numbers = [number for number, *_ in self.inbox.of(sid)]
        kept = [(number, place, body) for number in numbers for place, body in self._progress.get(number, {}).items()]
        return sorted((number, kind, ordinal, body) for number, (kind, ordinal), body in kept)

    def steps_of(self, sid: int) -> list[tuple[str, str, int, bytes]]:
        kept = self._steps.get(sid, {}).items()
        # In the order of their bytes, as SQLite has it.
        ordered = sorted(kept, key=lambda step: tuple(name.encode() for name in step[0]))
        return [(owner, name, at_us, body) for (owner, name), (at_us, body) in ordered]

    def letters(self) -> Iterator[tuple[int, LetterLine]]:
        return iter(self._letters.values())

    def letter(self, id: str) -> tuple[int, LetterLine] | None:
        return self._letters.get(id)

    def put(self, postings: Sequence[Posting]) -> None:
        """All of them, or none. Raises RecordRefused when a number or an id is there already."""
        inbox: list[int] = []
        outbox: list[int] = []
        letters: list[str] = []
        dropped: set[str] = set()
        for posting in postings:
            inbox += [line[0] for line in (*posting.parcel.inbox, *posting.arriving)]
            outbox += [line[0] for line in posting.parcel.outbox]
            letters += [line[1] for line in (*posting.parcel.letters, *posting.letters)]
            dropped |= {id for id in posting.parcel.mail.dead_letters_dropped if self._is_of(id, posting.parcel.sid)}
        _check_new(inbox, self.inbox.lines)
        _check_new(outbox, self.outbox.lines)
        _check_new(letters, self._letters.keys() - dropped if dropped else self._letters)
        for posting in postings:
            self._put(posting)

    def _put(self, posting: Posting) -> None:
        """In the order of SQLite's pile."""
        parcel = posting.parcel
        mail, sid = parcel.mail, parcel.sid
        self._drop(parcel)
        for line in (*parcel.inbox, *posting.arriving):
            self.inbox.add(line)
        for number, attempts in mail.inbox_started:
            self.inbox.change(sid, number, attempts, self.inbox.lines.get(number, (0, 0, 0, None))[3])
        for number, due_us in mail.inbox_put_off:
            self.inbox.change(sid, number, None, due_us)
        for number, kind, ordinal, body, _ in parcel.progress:
            if self.inbox.holds(sid, number):
                self._progress.setdefault(number, {})[kind, ordinal] = body
        for number in mail.inbox_settled:
            self._drop_progress(sid, number)
            self.inbox.drop(sid, number)
        for _, owner, name, at_us, body in parcel.steps:
            self._steps.setdefault(sid, {})[owner, name] = (at_us, body)
        self._put_outgoing(parcel)
        for letter in (*parcel.letters, *posting.letters):
            self._place += 1
            self._letters[letter[1]] = (self._place, letter)

    def _put_outgoing(self, parcel: Parcel) -> None:
        mail, sid = parcel.mail, parcel.sid
        for line in parcel.outbox:
            self.outbox.add(line)
        for number, attempts, due_us in mail.outbox_tried:
            self.outbox.change(sid, number, attempts, due_us)
        for number in mail.outbox_settled:
            self.outbox.drop(sid, number)

    def _drop(self, parcel: Parcel) -> None:
        mail, sid = parcel.mail, parcel.sid
        for number in mail.progress_dropped:
            self._drop_progress(sid, number)
        for owner in mail.steps_dropped:
            self._steps[sid] = {place: step for place, step in self._steps.get(sid, {}).items() if place[0] != owner}
        for id in mail.dead_letters_dropped:
            if self._is_of(id, sid):
                del self._letters[id]

    def _drop_progress(self, sid: int, number: int) -> None:
        if self.inbox.holds(sid, number):
            self._progress.pop(number, None)

    def _is_of(self, id: str, sid: int) -> bool:
        kept = self._letters.get(id)
        return kept is not None and kept[1][0] == sid


def _check_new(names: Sequence[Hashable], known: Container[Hashable]) -> None:
    if names and (len(set(names)) != len(names) or any(name in known for name in names)):
        raise RecordRefused("A number or an id of the mail is there already.")

"""What one reader of one turn has seen, over all its connections: what it sees next must follow."""

from dataclasses import dataclass

from salon import Accepted, Chunk, Restarted, TurnEvent
from salon.events import Done, Failed, Interrupted, Stopped, Superseded
from tests.stateful.delivery_model import Sent

NAMES = {Done: "done", Stopped: "TurnStopped", Interrupted: "TurnInterrupted", Superseded: "TurnSuperseded"}


def name_of(event: object) -> str:
    """As a caller of `ask` would meet this outcome."""
    if isinstance(event, Failed):
        return event.error.name
    return next(name for kind, name in NAMES.items() if isinstance(event, kind))


@dataclass
class Reading:
    sent: Sent
    turn: str | None = None
    cursor: str | None = None
    attempt: int = 0
    seq: int = 0
    has_begun: bool = False
    outcome: str | None = None

    def take(self, event: TurnEvent) -> None:
        element = self.sent.element
        assert self.outcome is None, f"{element}: {event} behind the outcome"
        match event:
            case Accepted():
                assert not self.has_begun or self.sent.kind == "quick", f"{element} is accepted twice"
                self.turn = self.turn or event.turn
            case Chunk():
                assert self.seq == 0 or event.attempt == self.attempt, f"{element}: attempts are mixed at {event}"
                assert event.seq == self.seq + 1, f"{element}: {event} follows chunk {self.seq}"
                assert event.data == f"{element}.{event.attempt}.{event.seq}", f"{element}: {event} is foreign"
                self.attempt, self.seq = event.attempt, event.seq
                place = event.turn, event.attempt
                self.sent.shown[place] = max(self.sent.shown.get(place, 0), event.seq)
            case Restarted():
                assert event.attempt > self.attempt, f"{element}: {event} goes back"
                self.attempt, self.seq = event.attempt, 0
            case _:
                self.outcome = name_of(event)
                whole = self.sent.kind == "quick" or self.seq == self.sent.chunks
                assert self.outcome != "done" or whole, f"{element} is done, and chunks are missing"
        self.turn = self.turn or event.turn
        self.cursor = event.id
        self.has_begun = True

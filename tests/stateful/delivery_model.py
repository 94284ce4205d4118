"""What delivery promises about one session, without a runtime: one fate for each message, and traces that fit it."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from salon.turn_id import order_of, turn_number
from tests.stateful.delivery_hearing import FATES, LEAVES_TRACES, NOT_ACCEPTED, NOTHING, possible


@dataclass
class Sent:
    """One message: all sends of it under one key are one."""

    element: str
    session: str
    kind: str
    lane: str
    chunks: int
    key: str | None
    why: set[str]
    """Keys of MAY_BE_HEARD."""
    heard: set[str] = field(default_factory=set[str])
    shown: dict[tuple[str, int], int] = field(default_factory=dict[tuple[str, int], int])
    """The last chunk that anybody has seen, by turn and attempt."""


@dataclass
class Trace:
    turn: str
    what: Sequence[str]

    @property
    def number(self) -> int:
        return order_of(turn_number(self.turn))


@dataclass
class Story:
    """One session."""

    sent: dict[str, Sent] = field(default_factory=dict[str, Sent])
    accepted: dict[str, Sent] = field(default_factory=dict[str, Sent])
    """By turn: those of which somebody holds a receipt."""
    fates: dict[str, str] = field(default_factory=dict[str, str])
    """By turn, by element, or by key."""
    lines: list[str] = field(default_factory=list[str])
    traces: dict[str, list[Trace]] = field(default_factory=lambda: defaultdict(list))
    lanes: dict[str, Trace] = field(default_factory=dict[str, Trace])

    def happens(self, why: str) -> None:
        """To all whose fate is open."""
        for sent in self.sent.values():
            if self.fate(sent, None) is None:
                sent.why.add(why)

    def fate(self, sent: Sent, turn: str | None) -> str | None:
        own = self.fates.get(sent.element if turn is None else turn)
        return own or (self.fates.get(f"key {sent.key}") if sent.key else None)

    def hear(self, sent: Sent, name: str, turn: str | None, *, accepted: bool) -> None:
        """A caller was told this."""
        assert name in possible(sent.why, has_receipt=turn is not None), (
            f"{sent.element} met {name}, and there was only {sorted(sent.why)}"
        )
        sent.heard.add(name)
        fate = NOTHING if not accepted and name in NOT_ACCEPTED else FATES.get(name)
        if fate is None:
            return
        if turn is not None:
            self._decide(turn, fate)
        if sent.key is None:
            self._decide(sent.element, fate)
        if sent.key is not None and fate != NOTHING:  # what was rolled back runs again under its key
            self._decide(f"key {sent.key}", fate)

    def _decide(self, of: str, fate: str) -> None:
        known = self.fates.setdefault(of, fate)
        assert known == fate, f"{of} was {known}, and now it is {fate}"

    def see(self, lines: Sequence[str]) -> None:
        """Somebody has looked at what is committed."""
        assert lines[: len(self.lines)] == self.lines, "a trace is lost or reordered"
        new = [line.split(" ") for line in lines[len(self.lines) :]]
        self.lines = list(lines)
        for place, (turn, element, *what) in enumerate(new):
            assert element in self.sent, f"{element} is foreign"
            if what[0] == "began":
                follows = new[place + 1][:2] if place + 1 < len(new) else None
                assert follows == [turn, element], f"the checkpoint of {element} is seen alone"
            else:
                self._leave(self.sent[element], Trace(turn, what))

    def _leave(self, sent: Sent, trace: Trace) -> None:
        traces = self.traces[sent.element]
        traces.append(trace)
        assert len(traces) == 1, f"{sent.element} is doubled: {traces}"
        if trace.what[0] == "cut":
            attempt, chunks = map(int, trace.what[2:])
            assert sent.shown.get((trace.turn, attempt), 0) <= chunks, f"more of {sent.element} was shown than is kept"
        if sent.kind == "quick" or "trouble" in sent.why:
            return  # it has waited for others, or nobody knew for a while whether it was applied
        before = self.lanes.get(sent.lane)
        assert before is None or before.number < trace.number, f"{sent.element} is overtaken in its lane"
        self.lanes[sent.lane] = trace

    def check(self) -> None:
        """What is there fits what anybody was told."""
        for sent in self.sent.values():
            fate = self.fates.get(f"key {sent.key}" if sent.key else sent.element)
            self._fits(sent, fate, self._of_key(sent))
        for turn, sent in self.accepted.items():
            if sent.kind != "quick":  # those who are merged have one turn, and a receipt each
                own = [trace for trace in self.traces.get(sent.element, ()) if trace.turn == turn]
                self._fits(sent, self.fates.get(turn), own)

    def _of_key(self, sent: Sent) -> Sequence[Trace]:
        elements = [other.element for other in self.sent.values() if sent.key and other.key == sent.key]
        traces = [trace for element in elements or [sent.element] for trace in self.traces.get(element, ())]
        assert len(traces) <= 1, f"two messages took effect under the key of {sent.element}"
        return traces

    def _fits(self, sent: Sent, fate: str | None, traces: Sequence[Trace]) -> None:
        found = traces[0].what[0] if traces else NOTHING
        if fate == "done":
            assert found == "done", f"{sent.element} was acknowledged and is lost"
        elif fate is not None:
            assert found != "done", f"{sent.element} is there, and its sender was told that it was {fate}"
            assert not traces or fate in LEAVES_TRACES, f"{sent.element} is there, and its sender was told {fate}"

    def judge(self) -> None:
        """In the end each message that was accepted has met its fate."""
        for turn, sent in self.accepted.items():
            assert self.fate(sent, turn) is not None, f"{sent.element} was accepted and has met no fate"

"""Compares what devices have shown with what the session holds, and with what it says after a restart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from examples.streaming.device import Answer
from examples.streaming.web import Web
from salon import ChatLine, ReplayIncomplete


@dataclass
class Played:
    """One conversation."""

    chat: str
    phone: list[Answer] = field(default_factory=list[Answer])
    tablet: dict[str, Answer] = field(default_factory=dict[str, Answer])
    says: list[str] = field(default_factory=list[str])
    lost_connections: int = 0

    def tablet_has_seen(self, answer: Answer) -> bool:
        seen = self.tablet.get(answer.turn)
        return seen is not None and seen.end is not None


@dataclass
class Findings:
    """All of them should be 0."""

    tokens_missing: int = 0
    tokens_repeated: int = 0
    screens_that_differ: int = 0
    """Turns of which phone and tablet show something else."""
    transcripts_that_differ: int = 0
    """Conversations that hold something else than the phone has shown."""
    other_outcomes: int = 0
    """Turns that have another end after the restart than before."""

    def add(self, other: "Findings") -> None:
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    def shown(self) -> Mapping[str, int]:
        return {each.name.replace("_", " "): getattr(self, each.name) for each in fields(self)}

    @property
    def is_clean(self) -> bool:
        return not any(self.shown().values())


def compare(played: Played, lines: Sequence[ChatLine]) -> Findings:
    """One conversation, its transcript at hand."""
    numbers = [answer.numbers for answer in played.phone]
    return Findings(
        tokens_missing=sum(max(seen, default=0) - len(set(seen)) for seen in numbers),
        tokens_repeated=sum(len(seen) - len(set(seen)) for seen in numbers),
        screens_that_differ=sum(_differs(answer, played.tablet.get(answer.turn)) for answer in played.phone),
        transcripts_that_differ=list(lines) != expected(played),
    )


def _differs(phone: Answer, tablet: Answer | None) -> bool:
    return tablet is None or (phone.text, phone.end) != (tablet.text, tablet.end)


def expected(played: Played) -> list[ChatLine]:
    """What the transcript holds if it is what the phone has shown: of a stopped answer what was seen, marked."""
    lines: list[ChatLine] = []
    for said, answer in zip(played.says, played.phone, strict=True):
        lines.append(ChatLine(role="user", content=said))
        if answer.text:
            lines.append(ChatLine(role="assistant", content=answer.text, complete=answer.end == "done"))
    return lines


async def lines_of(web: Web, chat: str) -> Sequence[ChatLine]:
    return (await (await web.chat(chat)).history(lambda state: state.messages, limit=1000)).items


async def other_outcomes(web: Web, played: Played) -> int:
    """To be asked of a runtime that was opened after the turns had ended."""
    handle = await web.chat(played.chat)
    wrong = 0
    for answer in played.phone:
        outcome = await handle.outcome(answer.turn)
        is_same = outcome is not None and outcome.kind == answer.end
        if outcome is not None and outcome.kind == "done":
            is_same = is_same and outcome.reply == answer.text
        wrong += not (is_same and await _has_nothing_more(web, played.chat, answer))
    return wrong


async def _has_nothing_more(web: Web, chat: str, answer: Answer) -> bool:
    """A device that comes back with its last cursor has missed nothing."""
    try:
        return [frame async for frame in web.events(chat, answer.turn, answer.cursor)] == []
    except ReplayIncomplete:
        return False

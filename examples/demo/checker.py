"""The third process: reads the file through `history`, and checks every acknowledged turn of every conversation.

Run by the parent: python -m examples.demo.checker STORE ACKNOWLEDGED
"""

import logging
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import anyio
from pydantic import BaseModel, Field

from examples.demo.bot import Bot, Deps, Line, Say
from examples.demo.history import whole_history
from examples.demo.play import Acknowledged
from salon import Runtime, SessionNotFound


class Verdict(BaseModel):
    turns: int = 0
    """Acknowledged turns that were looked for."""
    lost: int = 0
    """Not there, there in half, at another place, or with another answer than the one that was given."""
    doubled: int = 0
    foreign: int = 0
    """Kept in a conversation that they do not belong to."""
    findings: list[str] = Field(default_factory=list[str])

    def add(self, other: "Verdict") -> None:
        self.turns += other.turns
        self.lost += other.lost
        self.doubled += other.doubled
        self.foreign += other.foreign
        self.findings += other.findings

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.doubled or self.foreign)


def judge(acknowledged: Sequence[Acknowledged], lines: Sequence[Line]) -> Verdict:
    """Compares what one session has acknowledged, in its order, with what its history holds."""
    own = {turn.mark for turn in acknowledged}
    said = [line.mark for line in lines if line.role == "user"]
    kept_order = [mark for mark in dict.fromkeys(said) if mark in own]
    told_order = [turn.mark for turn in acknowledged if turn.mark in kept_order]
    moved = {told for told, kept in zip(told_order, kept_order, strict=True) if told != kept}
    lost = [turn.mark for turn in acknowledged if turn.mark in moved or not is_kept(turn, lines)]
    doubled = [mark for mark, times in Counter(said).items() if mark in own for _ in range(times - 1)]
    foreign = [mark for mark in said if mark not in own]
    findings = {"lost": lost, "doubled": doubled, "foreign": foreign}
    return Verdict(
        turns=len(acknowledged),
        lost=len(lost),
        doubled=len(doubled),
        foreign=len(foreign),
        findings=[f"{what}: {mark}" for what, marks in findings.items() for mark in marks],
    )


def is_kept(turn: Acknowledged, lines: Sequence[Line]) -> bool:
    """Its words are there, and the answer that was given."""
    said = {(line.role, line.content) for line in lines if line.mark == turn.mark}
    return {("user", turn.text), ("assistant", turn.reply)} <= said


async def check(store: str, acknowledged: Sequence[Acknowledged]) -> Verdict:
    sessions: dict[str, list[Acknowledged]] = defaultdict(list)
    for turn in acknowledged:
        sessions[turn.session_id].append(turn)
    verdict = Verdict()
    async with Runtime(Bot, store=store, deps=Deps(no_thoughts)) as runtime:
        for session_id, turns in sessions.items():
            verdict.add(judge(turns, await history_of(runtime, session_id)))
    return verdict


async def history_of(runtime: Runtime, session_id: str) -> list[Line]:
    try:
        chat = await runtime.get(Bot, session_id)
    except SessionNotFound:
        return []  # All of its turns are lost.
    return await whole_history(chat)


async def no_thoughts(message: Say) -> None:
    raise AssertionError("The checker asks nothing.")


def main(store: str, acknowledged: Path) -> None:
    lines = acknowledged.read_text(encoding="utf-8").splitlines()
    verdict = anyio.run(check, store, [Acknowledged.model_validate_json(line) for line in lines])
    print(verdict.model_dump_json())


if __name__ == "__main__":
    logging.getLogger("salon").setLevel(logging.ERROR)  # The terminal belongs to the parent's progress bar.
    main(sys.argv[1], Path(sys.argv[2]))

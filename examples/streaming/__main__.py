"""Plays conversations at once, shows the first one, and compares.

Exit status 0: every device has shown exactly what is kept. 1: not so. 2: it could not be played.
"""

import argparse
import logging
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio
from rich.console import Console
from rich.table import Table

from examples.demo.__main__ import leaves
from examples.demo.dialogues import Dialogue, user_turns
from examples.demo.report import coloured
from examples.streaming.bot import Chat, Deps
from examples.streaming.compare import Findings, Played, compare, lines_of, other_outcomes
from examples.streaming.device import Answer, read_all, read_answer
from examples.streaming.model import Model, read_dialogues
from examples.streaming.web import Web
from salon import Runtime

STOPPED_EVERY = 3
"""Of so many answers, one is stopped."""
AWAY_S = 0.05


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m examples.streaming", description="Streams answers to a phone that loses its connection."
    )
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="conversations at once (default 20)")
    parser.add_argument("--token", type=float, default=0.03, metavar="S", help="seconds for a word (default 0.03)")
    parser.add_argument("--backend", choices=["asyncio", "trio"], default="asyncio")
    parser.add_argument("--without", choices=["cursor"], default="", help="let the phone come back without it")
    return parser.parse_args(words)


class Phone:
    """Says what one user says, and reads the answers over a bad connection."""

    def __init__(self, web: Web, played: Played, *, keeps_cursor: bool, show: Callable[[str], None]) -> None:
        self._web = web
        self._played = played
        self._keeps_cursor = keeps_cursor
        self._show = show
        self._chance = random.Random(played.chat)

    async def say(self, number: int, text: str) -> None:
        played = self._played
        self._show(f"\nuser:  {text}\nphone: ")
        turn = await self._web.say(played.chat, text, f"{played.chat}#{number}")
        answer = Answer(turn)
        played.says.append(text)
        played.phone.append(answer)
        is_stopped = len(played.phone) % STOPPED_EVERY == 0
        await self._read(answer, self._chance.randint(1, 5))
        if answer.end is None:
            await self._lose_connection()
            if is_stopped:
                self._show("[bold red]■ stop[/] ")
                await self._web.stop(played.chat, turn)
            await self._read(answer, None)
        self._show(f" [dim]({answer.end})[/]")

    async def _lose_connection(self) -> None:
        self._played.lost_connections += 1
        self._show(" [bold yellow]⚡[/] ")
        await anyio.sleep(AWAY_S * self._chance.random())

    async def _read(self, answer: Answer, tokens_max: int | None) -> None:
        cursor = answer.cursor if self._keeps_cursor else None
        frames = self._web.events(self._played.chat, answer.turn, cursor)
        await read_answer(frames, answer, tokens_max=tokens_max, show=self._show)


async def converse(web: Web, played: Played, dialogue: Dialogue, phone: Phone) -> None:
    """The tablet watches until the last turn has ended for it too."""
    async with anyio.create_task_group() as tasks:
        connected = anyio.Event()
        tasks.start_soon(read_all, web.watch(played.chat), played.tablet, connected)
        await connected.wait()
        for number, text in enumerate(user_turns(dialogue)):
            await phone.say(number, text)
        with anyio.move_on_after(5):
            while not all(played.tablet_has_seen(answer) for answer in played.phone):  # noqa: ASYNC110  # as a person does
                await anyio.sleep(0.005)
        tasks.cancel_scope.cancel()


async def play(options: argparse.Namespace, store: str, console: Console) -> tuple[list[Played], Model, Findings]:
    dialogues = read_dialogues(options.limit)
    model, findings, plays = Model(dialogues, options.token), Findings(), [Played(each.id) for each in dialogues]

    def show(text: str) -> None:
        console.print(text, end="", highlight=False)

    def hide(text: str) -> None:
        """Of the other conversations only the figures are shown."""

    async with Runtime(Chat, store=store, deps=Deps(model)) as runtime:
        web = Web(runtime)
        async with anyio.create_task_group() as tasks:
            for played, dialogue in zip(plays, dialogues, strict=True):
                shown = show if played is plays[0] else hide
                phone = Phone(web, played, keeps_cursor=options.without != "cursor", show=shown)
                tasks.start_soon(converse, web, played, dialogue, phone)
        for played in plays:
            findings.add(compare(played, await lines_of(web, played.chat)))
    async with Runtime(Chat, store=store, deps=Deps(model)) as runtime:
        for played in plays:
            findings.other_outcomes += await other_outcomes(Web(runtime), played)
    return plays, model, findings


def table(plays: Sequence[Played], model: Model, findings: Findings) -> Table:
    answers = [answer for played in plays for answer in played.phone]
    rows = [
        ("conversations at once", len(plays)),
        ("answers", len(answers)),
        ("times the model was asked", model.asked),
        ("tokens shown", sum(len(answer.tokens) for answer in answers)),
        ("connections lost", sum(played.lost_connections for played in plays)),
        ("answers stopped", sum(answer.end == "stopped" for answer in answers)),
    ]
    grid = Table(show_header=False)
    grid.add_column(overflow="fold")
    grid.add_column(justify="right", no_wrap=True)
    for name, figure in rows:
        grid.add_row(name, f"{figure}", end_section=name == "answers stopped")
    for name, figure in findings.shown().items():
        grid.add_row(name, coloured(figure))
    return grid


def run(options: argparse.Namespace, folder: Path, console: Console) -> int:
    console.print("The first of the conversations, as its phone shows it:", highlight=False)
    store = f"sqlite:///{folder / 'streaming.db'}"
    plays, model, findings = anyio.run(play, options, store, console, backend=options.backend)
    console.print("\n\nAll of them, against the tablets that watched, the transcripts, and a restart:", highlight=False)
    console.print(table(plays, model, findings))
    answers = sum(len(played.phone) for played in plays)
    return 0 if findings.is_clean and model.asked == answers else 1


def main(words: Sequence[str] | None = None) -> int:
    options = arguments(words)
    logging.getLogger("salon").setLevel(logging.ERROR)  # This terminal is for the conversation.
    try:
        with tempfile.TemporaryDirectory(prefix="salon-streaming-") as folder:
            return run(options, Path(folder), Console())
    except* (OSError, ValueError, RuntimeError) as errors:
        for error in leaves(errors):
            print(f"The streaming could not be played: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())

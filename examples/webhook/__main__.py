"""Plays the platform, kills the bot, counts, and shows the figures.

Exit status 0: every update has exactly one effect and one answer. 1: not so. 2: it could not be played.
"""

import argparse
import logging
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio
from anyio.abc import TaskGroup
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from examples.demo.__main__ import leaves
from examples.demo.dialogues import SHIPPED, Conversation, read_conversations
from examples.demo.report import coloured
from examples.webhook.books import Books
from examples.webhook.count import Tally, count, deviations
from examples.webhook.hook import Hook, start_hook
from examples.webhook.platform import Platform
from examples.webhook.wire import Send


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m examples.webhook", description="Sends every update twice, kills the bot, and counts."
    )
    parser.add_argument("--limit", type=int, metavar="N", help="play the first N conversations only")
    parser.add_argument("--at-once", type=int, default=40, metavar="N", help="chats at a time (default 40)")
    parser.add_argument("--think", type=float, default=0.1, metavar="S", help="seconds the model takes (default 0.1)")
    parser.add_argument("--kill-at", type=float, default=0.4, metavar="PART", help="of all updates (default 0.4)")
    parser.add_argument("--backend", choices=["asyncio", "trio"], default="asyncio", help="of the bot process")
    without = parser.add_argument("--without", choices=["key", "inbox", "outbox"], default="")
    without.help = "let the bot not use it, and see what becomes of that"
    return parser.parse_args(words)


async def play(
    options: argparse.Namespace, store: str, conversations: Sequence[Conversation], console: Console
) -> Books:
    async def start(tasks: TaskGroup, called: Callable[[Hook, Send], None]) -> Hook:
        return await start_hook(tasks, [store, str(options.think), options.backend, options.without], called)

    columns = TextColumn("answers"), BarColumn(bar_width=None), MofNCompleteColumn()
    with Progress(*columns, console=console, expand=True) as progress:
        updates = sum(len(conversation.says) for conversation in conversations)
        task = progress.add_task("answers", total=updates)

        def watch(event: str | None) -> None:
            progress.update(task, completed=platform.books.answered)
            if event:
                progress.console.print(event, highlight=False)

        kill_after = max(1, int(updates * options.kill_at))
        platform = Platform(conversations, start, at_once=options.at_once, kill_after=kill_after, watch=watch)
        return await platform.run()


def table(books: Books, tally: Tally) -> Table:
    updates = len(books.updates)
    rows = [
        ("updates", f"{updates}"),
        ("webhook requests", f"{books.requests}"),
        ("requests cut by the kill", f"{books.broken}"),
        ("waiting at the kill", f"{books.waiting_at_kill}"),
        ("calls of the platform", f"{books.calls}"),
        ("calls that it failed", f"{books.calls_failed}"),
        ("calls under a known key", f"{books.calls_repeated}"),
        ("effects", coloured_of(tally.effects, updates)),
        ("answers", coloured_of(tally.answers, updates)),
        *((name, coloured(number)) for name, number in deviations(tally).items()),
    ]
    grid = Table(show_header=False)
    grid.add_column(overflow="fold")
    grid.add_column(justify="right", no_wrap=True)
    for name, figure in rows:
        grid.add_row(name, figure, end_section=name in ("waiting at the kill", "calls under a known key", "answers"))
    return grid


def coloured_of(number: int, expected: int) -> str:
    return f"[bold {'green' if number == expected else 'red'}]{number}[/]"


def run(options: argparse.Namespace, folder: Path, console: Console) -> int:
    conversations = read_conversations(SHIPPED, options.limit)
    store = f"sqlite:///{folder / 'webhook.db'}"
    console.print(
        f"{len(conversations)} chats, {options.at_once} at a time; every update comes twice, one in ten late, "
        "some out of order; one call of the platform in twenty fails.",
        highlight=False,
    )
    books = anyio.run(play, options, store, conversations, console)
    console.print("The file is now read and counted against what the platform has sent and shown.")
    tally = anyio.run(count, store, books)
    console.print(table(books, tally))
    return 0 if tally.is_exact(len(books.updates)) else 1


def main(words: Sequence[str] | None = None) -> int:
    options = arguments(words)
    logging.getLogger("salon").setLevel(logging.CRITICAL)  # This terminal is for the figures.
    try:
        with tempfile.TemporaryDirectory(prefix="salon-webhook-") as folder:
            return run(options, Path(folder), Console())
    except* (OSError, ValueError, RuntimeError) as errors:
        for error in leaves(errors):
            print(f"The webhook could not be played: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())

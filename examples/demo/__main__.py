"""The parent: plays, kills, starts again, has the file checked, and shows the figures.

Exit status 0: nothing was lost, doubled or foreign. 1: something was. 2: the demo itself could not be played.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import anyio
from anyio.abc import TaskGroup
from rich.console import Console

from examples.demo.checker import Verdict
from examples.demo.child import ROOT, Child, start_child
from examples.demo.dialogues import SHIPPED, Conversation, read_conversations
from examples.demo.play import Acknowledged, Play, Played
from examples.demo.report import Bar, first_findings, table
from examples.demo.server import think_time_s


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m examples.demo", description="Kills a chatbot process, and counts what is lost."
    )
    parser.add_argument("--dialogues", type=Path, default=SHIPPED, metavar="FILE", help="JSON lines, SGD's among them")
    parser.add_argument("--limit", type=int, metavar="N", help="play the first N conversations only")
    parser.add_argument("--at-once", type=int, default=40, metavar="N", help="conversations at a time (default 40)")
    parser.add_argument("--think", type=float, default=0.25, metavar="S", help="seconds the model takes (default 0.25)")
    parser.add_argument("--kill-at", type=float, default=0.4, metavar="PART", help="of all turns (default 0.4)")
    parser.add_argument("--store", type=Path, metavar="FILE", help="keep the conversations there (default: nowhere)")
    parser.add_argument("--backend", choices=["asyncio", "trio"], default="asyncio", help="of the chatbot process")
    parser.add_argument("--plant", choices=["lost", "doubled", "foreign"], default="", help="break it on purpose")
    return parser.parse_args(words)


async def play(
    options: argparse.Namespace, store: str, conversations: Sequence[Conversation], console: Console
) -> Played:
    async def start(tasks: TaskGroup) -> Child:
        return await start_child(tasks, store, options.think, options.backend, options.plant)

    turns = sum(len(conversation.says) for conversation in conversations)
    with Bar(console, turns) as bar:
        performance = Play(
            conversations,
            start,
            at_once=options.at_once,
            kill_after=int(turns * options.kill_at),
            watch=lambda event: bar.watch(performance.played, event),
        )
        return await performance.run()


def check(store: str, acknowledged: Sequence[Acknowledged], folder: Path) -> Verdict:
    """By a process of its own, which knows the file and what was acknowledged, and nothing else."""
    notes = folder / "acknowledged.jsonl"
    notes.write_text("".join(f"{turn.model_dump_json()}\n" for turn in acknowledged), encoding="utf-8")
    command = [sys.executable, "-m", "examples.demo.checker", store, str(notes)]
    return Verdict.model_validate_json(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)


def run(options: argparse.Namespace, folder: Path, console: Console) -> int:
    conversations = read_conversations(options.dialogues, options.limit)
    if options.store and options.store.exists():
        raise ValueError(f"{options.store} is there already; the demo begins with an empty file.")
    store = f"sqlite:///{(options.store or folder / 'demo.db').resolve()}"
    console.print(
        f"{len(conversations)} conversations, {options.at_once} at a time; the model is simulated.", highlight=False
    )
    played = anyio.run(play, options, store, conversations, console)
    console.print("A third process now reads the file and checks every acknowledged turn.")
    verdict = check(store, played.acknowledged, folder)
    own_s = [turn.seconds - think_time_s(turn.mark, options.think) for turn in played.acknowledged]
    console.print(table(len(conversations), played, verdict, own_s))
    if not verdict.is_clean:
        console.print(f"Found by the checker: {first_findings(verdict)}", style="red", highlight=False)
    return 0 if verdict.is_clean else 1


def main(words: Sequence[str] | None = None) -> int:
    options = arguments(words)
    try:
        with tempfile.TemporaryDirectory(prefix="salon-demo-") as folder:
            return run(options, Path(folder), Console())
    except* (OSError, ValueError, RuntimeError, subprocess.CalledProcessError) as errors:
        for error in leaves(errors):
            print(f"The demo could not be played: {error}", file=sys.stderr)
    return 2


def leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    """The errors of a group, of any depth."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(cast("BaseExceptionGroup[BaseException]", error))
        else:
            yield error


if __name__ == "__main__":
    sys.exit(main())

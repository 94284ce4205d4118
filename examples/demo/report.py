"""The progress bar while conversations are played, and the table at the end."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from examples.demo.checker import Verdict
from examples.demo.play import Played

FINDINGS_SHOWN = 3


class Bar:
    """Turns played of all; sentences about events stay above it."""

    def __init__(self, console: Console, turns: int) -> None:
        columns = TextColumn("turns"), BarColumn(bar_width=None), MofNCompleteColumn()
        self._progress = Progress(*columns, console=console, expand=True)
        self._task = self._progress.add_task("turns", total=turns)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def watch(self, played: Played, event: str | None) -> None:
        self._progress.update(self._task, completed=len(played.acknowledged))
        if event:
            self._progress.console.print(event, highlight=False)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` of them, 0 to 1, do not exceed."""
    ranked = sorted(values)
    return ranked[max(0, -int(-share * len(ranked) // 1) - 1)]


def table(conversations: int, played: Played, verdict: Verdict, own_s: Sequence[float]) -> Table:
    """`own_s`: seconds of each turn beyond those that the model took."""
    seconds = [turn.seconds for turn in played.acknowledged]
    rows = [
        ("conversations", f"{conversations}"),
        ("turns", f"{verdict.turns}"),
        ("turns/s", f"{verdict.turns / played.seconds:.0f}"),
        ("p50 of a turn", milliseconds(percentile(seconds, 0.5))),
        ("p99 of a turn, restart included", milliseconds(percentile(seconds, 0.99))),
        ("p50 without the model", milliseconds(percentile(own_s, 0.5))),
        ("in flight at the kill", f"{played.in_flight}"),
        ("unanswered, found kept", f"{played.kept}"),
        ("unanswered, asked again", f"{played.asked_again}"),
        ("restart to first reply", f"{played.restart_s:.2f} s"),
        ("lost", coloured(verdict.lost)),
        ("doubled", coloured(verdict.doubled)),
        ("foreign", coloured(verdict.foreign)),
    ]
    grid = Table(show_header=False)
    grid.add_column(overflow="fold")
    grid.add_column(justify="right", no_wrap=True)
    for name, figure in rows:
        grid.add_row(name, figure, end_section=name.startswith(("turns/s", "p50 without", "restart")))
    return grid


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 0.1 else f"{seconds * 1000:.0f} ms"


def coloured(count: int) -> str:
    return f"[bold red]{count}[/]" if count else "[bold green]0[/]"


def first_findings(verdict: Verdict) -> str:
    shown = ", ".join(verdict.findings[:FINDINGS_SHOWN])
    return shown + (", …" if len(verdict.findings) > FINDINGS_SHOWN else "")

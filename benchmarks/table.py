"""Tables for a terminal: one a row of the run, and at the end what missed its target."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from benchmarks.figure import Figure

LEGEND = """low and high are those of the repeats. A ratio is how many times better than the thing it is held against;
where something is held against itself, how many times more it costs."""


def machine_table(machine: Mapping[str, str]) -> Table:
    shown = Table(show_header=False, box=None, padding=(0, 1))
    for name, value in machine.items():
        shown.add_row(name, value)
    return shown


def figure_tables(figures: Sequence[Figure]) -> Iterator[RenderableType]:
    for row, of_row in groupby(figures, lambda figure: figure.row):
        yield _table(row, list(of_row))
    yield Text(LEGEND, style="dim")


def _table(row: str, figures: Sequence[Figure]) -> Table:
    shown = Table(title=row, title_justify="left", padding=(0, 1), box=None)
    shown.add_column("loop", no_wrap=True)
    shown.add_column("case")
    for name in ("median", "low", "high"):
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("unit")
    shown.add_column("against")
    for name in ("its", "ratio", "target", ""):
        shown.add_column(name, justify="right", no_wrap=True)
    for figure in figures:
        shown.add_row(*_cells(figure))
    return shown


def _cells(figure: Figure) -> tuple[str, ...]:
    return (
        figure.backend,
        figure.case + (f" ({figure.note})" if figure.note else ""),
        f"[bold]{number(figure.value)}[/]",
        number(figure.low),
        number(figure.high),
        figure.unit,
        figure.against,
        number(figure.bare),
        "" if figure.ratio is None else f"[bold]{figure.ratio:.2f}[/]",
        "" if figure.target is None else str(figure.target),
        {None: "", True: "[green]met[/]", False: "[red]missed[/]"}[figure.is_met],
    )


def number(value: float | None) -> str:
    """Three digits that count."""
    if value is None:
        return ""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def verdict(figures: Sequence[Figure]) -> str:
    asked = [figure for figure in figures if figure.is_met is not None]
    left = sum(figure.target is not None and figure.value is None for figure in figures)
    met = sum(figure.is_met is True for figure in asked)
    return f"{met} of {len(asked)} targets met" + (f", {left} not run." if left else ".")


def comparison(figures: Sequence[Figure], machine: Mapping[str, str], saved: Sequence[Figure]) -> Table:
    """Now to then; a rate above 1 and a cost below 1 are better than before."""
    then = {figure.key: figure for figure in saved}
    shown = Table(title=f"Against {machine['commit']} of {machine['at']}", title_justify="left", box=None)
    for name in ("row", "loop", "case", "unit"):
        shown.add_column(name)
    for name in ("now", "then", "now / then", ""):
        shown.add_column(name, justify="right", no_wrap=True)
    for figure in figures:
        before = then.get(figure.key)
        if before is not None and before.value and figure.value is not None:
            names = figure.row, figure.backend, figure.case, figure.unit
            values = number(figure.value), number(before.value), f"{figure.value / before.value:.2f}"
            shown.add_row(*names, *values, _beside(figure.value, before))
    return shown


def _beside(value: float, before: Figure) -> str:
    """Empty when it is within what the saved run's own repeats showed."""
    if before.low is None or before.high is None or before.low <= value <= before.high:
        return ""
    return "above" if value > before.high else "below"

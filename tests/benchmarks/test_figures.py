"""What is made of measurements: targets, medians, files, comparisons."""

from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from rich.console import Console

from benchmarks import results, table
from benchmarks.effort import Effort
from benchmarks.figure import Figure, at_least, at_most, ratio_at_least
from benchmarks.meter import counted, percentile, take_turns, timed_count
from benchmarks.report import Lines

FIGURE = Figure(row="r", backend="asyncio", case="c", unit="k/s", value=50, low=40, high=60, target=at_least(45))


def shown(figure: Figure, before: Figure) -> str:
    console = Console(width=160, record=True)
    console.print(table.comparison([figure], {"commit": "abc", "at": "then"}, [before]))
    return console.export_text()


def test_a_target_is_met_by_the_value_or_by_the_ratio_as_it_says() -> None:
    assert FIGURE.is_met is True
    assert replace(FIGURE, target=at_most(45)).is_met is False
    assert replace(FIGURE, target=ratio_at_least(2)).is_met is False
    assert replace(FIGURE, target=ratio_at_least(2), ratio=2.1).is_met is True
    assert replace(FIGURE, target=None).is_met is None


def test_what_was_not_run_is_neither_met_nor_missed() -> None:
    skipped = replace(FIGURE, value=None, low=None, high=None)

    assert skipped.is_met is None
    assert table.verdict([FIGURE, skipped]) == "1 of 1 targets met, 1 not run."


def test_a_saved_run_is_read_back_as_it_was(tmp_path: Path) -> None:
    machine = {"at": "2026-01-02T03:04:05+00:00", "commit": "0123456789ab"}
    path = results.save(machine, [FIGURE], tmp_path)

    assert results.load(path) == (machine, [FIGURE])
    assert results.newest(tmp_path) == path
    assert results.newest(tmp_path / "none") is None


def test_a_comparison_tells_what_is_outside_the_spread_of_the_saved_run() -> None:
    assert "0.80" in shown(replace(FIGURE, value=40), FIGURE)
    assert "below" not in shown(replace(FIGURE, value=40), FIGURE)
    assert "below" in shown(replace(FIGURE, value=39), FIGURE)
    assert "above" in shown(replace(FIGURE, value=61), FIGURE)


def test_repeats_take_turns_and_their_median_counts() -> None:
    order: list[str] = []
    values = iter([1.0, 10.0, 3.0, 30.0, 2.0, 20.0])

    def cell(name: str) -> dict[str, float]:
        order.append(name)
        return {"us": next(values)}

    effort = Effort(repeats=3, seconds=0, share=1, is_telling=True)
    found = take_turns(Lines(), "cells", effort, {"a": lambda: cell("a"), "b": lambda: cell("b")})

    assert order == ["a", "b"] * 3
    assert (found["a"]["us"].median, found["b"]["us"].median) == (2, 20)
    assert (found["a"]["us"].low, found["a"]["us"].high) == (1, 3)


def test_a_percentile_is_a_value_that_was_measured() -> None:
    ranked = [float(value) for value in range(1, 101)]

    assert (percentile(ranked, 0.5), percentile(ranked, 0.99), percentile([7.0], 0.99)) == (50, 99, 7)


def test_asks_that_never_suspend_are_not_said_to_cost_nothing() -> None:
    async def at_once() -> None:
        sum(range(1000))

    with pytest.raises(ExceptionGroup) as refused:
        anyio.run(counted, [at_once], 50)

    assert refused.group_contains(RuntimeError, match="before the clock starts")
    assert anyio.run(timed_count, [at_once], 50)["cpu_us"] > 1

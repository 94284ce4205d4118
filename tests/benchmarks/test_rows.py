"""The benchmarks run; how quick anything is, is no matter for a test."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from benchmarks.bench import Bench
from benchmarks.effort import QUICK
from benchmarks.figure import Figure
from benchmarks.process import measure
from benchmarks.rows import ROWS

T = TypeVar("T")
ROOT = Path(__file__).parent.parent.parent
CHEAP = (
    "actors_ask",
    "runtime_ask",
    "store_rows",
    "durable_ask",
    "durable_tell",
    "keyed_ask",
    "overlap",
    "chunks",
    "reaching_out",
    "long_session",
    "cold_start",
)


class Collected:
    """A report that keeps what it is told."""

    def __init__(self) -> None:
        self.figures: list[Figure] = []
        self.steps = 0

    def track(self, what: str, items: Sequence[T]) -> Iterator[T]:
        for item in items:
            self.steps += 1
            yield item

    def figure(self, figure: Figure) -> None:
        self.figures.append(figure)


@pytest.mark.parametrize("row", CHEAP)
def test_a_quick_run_of_a_row_gives_figures_for_both_backends(row: str, tmp_path: Path) -> None:
    report = Collected()
    measure(Bench(row, QUICK, ["asyncio", "trio"], tmp_path, report))

    assert {"asyncio", "trio"} <= {figure.backend for figure in report.figures}
    assert all(figure.value is not None and figure.value > 0 for figure in report.figures), report.figures
    assert len({figure.key for figure in report.figures}) == len(report.figures)
    assert report.steps > 0
    assert list(tmp_path.iterdir()) == []


def test_a_quick_run_says_nothing_of_targets(tmp_path: Path) -> None:
    report = Collected()
    measure(Bench("store_rows", QUICK, ["asyncio"], tmp_path, report))

    assert report.figures
    assert all(figure.is_met is None for figure in report.figures)


def test_every_row_has_a_sketch_and_says_what_it_does_not_show() -> None:
    for row in ROWS:
        text = (ROOT / "benchmarks" / "rows" / f"{row}.py").read_text()
        docstring = text.split('"""')[1]
        assert "Sketch:" in docstring, row
        assert "Does not show:" in docstring, row


def test_the_command_prints_a_table_with_machine_and_versions(tmp_path: Path) -> None:
    done = command("store_rows", "--quick", "--folder", str(tmp_path))

    assert done.returncode == 0, done.stdout + done.stderr
    for part in ("store_rows", "closed loop", "commit", "python", "sqlite", "the figures mean nothing"):
        assert part in done.stdout


def test_the_command_names_the_rows_there_are() -> None:
    done = command("no_such_row")

    assert done.returncode == 2
    assert "durable_ask" in done.stderr


def test_a_row_that_fails_fails_the_command(tmp_path: Path) -> None:
    done = command("store_rows", "--quick", "--folder", str(tmp_path / "missing"))

    assert done.returncode == 1
    assert "FileNotFoundError" in done.stdout


def test_asking_for_peers_without_an_interpreter_installs_nothing_and_says_how() -> None:
    done = command("chat_turn", "--peers")

    assert done.returncode == 2
    assert "pip install openai-agents" in done.stdout


def command(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    line = [sys.executable, "-m", "benchmarks", *words]
    return subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=50)

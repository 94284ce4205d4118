"""Rows one after another, each in a process of its own, so that none finds the heap or the threads of another."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.figure import Figure, from_json


class Failed(Exception):
    """A row ended with an error; its last words are the message."""


def run(
    rows: Sequence[str], quick: bool, backends: Sequence[str], folder: Path, peers: str | None, console: Console
) -> list[Figure]:
    """Figures of all rows, in order."""
    options = ["--backends", *backends, "--folder", str(folder)]
    options += ["--quick"] if quick else []
    options += ["--peers", peers] if peers else []
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    figures: list[Figure] = []
    with Progress(*columns, console=console) as progress:
        whole, step = progress.add_task("rows", total=len(rows)), progress.add_task("", total=None)
        for row in rows:
            progress.update(step, description=row, completed=0, total=None)
            command = [sys.executable, "-m", "benchmarks.process", row, *options]
            figures += _figures(row, command, progress, step)
            progress.advance(whole)
        progress.remove_task(step)
    return figures


def _figures(row: str, command: Sequence[str], progress: Progress, step: object) -> list[Figure]:
    found: list[Figure] = []
    with tempfile.TemporaryFile("w+") as said:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True)
        try:
            _follow(child.stdout, found, progress, step)
            code = child.wait()
        except BaseException:
            child.kill()
            child.wait()
            raise
        if code != 0:
            said.seek(0)
            raise Failed(f"{row} ended with status {code}.\n{said.read()[-4000:]}")
    return found


def _follow(lines: IO[str] | None, found: list[Figure], progress: Progress, step: object) -> None:
    assert lines is not None
    for text in lines:
        line = json.loads(text)
        if "figure" in line:
            found.append(from_json(line["figure"]))
        else:
            progress.update(step, description=line["what"], completed=line["done"], total=line["of"])  # type: ignore[arg-type]

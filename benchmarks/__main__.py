"""Runs rows, each in a process of its own, prints the table, and saves the figures.

python -m benchmarks [ROW ...] [--quick] [--backends asyncio uvloop trio] [--compare [FILE]] [--peers [PYTHON]]
"""

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from benchmarks import machine, peers, results, table
from benchmarks.rows import ROWS
from benchmarks.run import Failed, run

WIDTH = 160
"""Where there is no terminal to ask."""
BUSY = "others were using this machine: wall times are too long, theirs as ours, and ratios to a disk too good"
QUICKLY = "Every row ran, on a hundredth of what its cases say; the figures mean nothing."


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="salon beside the bare thing.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"default all: {', '.join(ROWS)}")
    parser.add_argument("--quick", action="store_true", help="a hundredth of it, once: does it run? says nothing else")
    parser.add_argument("--backends", nargs="+", choices=("asyncio", "uvloop", "trio"), default=["asyncio", "trio"])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="on the disk to measure")
    parser.add_argument("--compare", nargs="?", const="", metavar="FILE", help="to a saved run; default the newest")
    parser.add_argument("--peers", nargs="?", const="", metavar="PYTHON", help="an interpreter that has the peers")
    parser.add_argument("--no-save", action="store_true")
    args = parser.parse_args()
    if args.compare in ROWS:  # `--compare ROW` means the newest run.
        args.rows, args.compare = [args.compare, *args.rows], ""
    unknown = [row for row in args.rows if row not in ROWS]
    if unknown:
        parser.error(f"no such row: {', '.join(unknown)}; there are {', '.join(ROWS)}")
    return args


def main() -> int:
    args = arguments()
    signal.signal(signal.SIGTERM, _end)
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    if args.peers == "":
        console.print(peers.HOW_TO, markup=False, highlight=False)
        return 2
    saved = _saved(args.compare)
    where = machine.described(args.folder)
    if machine.is_busy():
        where["beware"] = BUSY
    try:
        figures = run(args.rows or ROWS, args.quick, args.backends, args.folder, args.peers, console)
    except Failed as failed:
        console.print(str(failed), markup=False, highlight=False)
        return 1
    where["load at the end"] = machine.load()
    for shown in (table.machine_table(where), *table.figure_tables(figures)):
        console.print(shown, "", highlight=False)
    console.print(QUICKLY if args.quick else table.verdict(figures), highlight=False)
    if saved is not None:
        console.print(table.comparison(figures, *results.load(saved)))
    if not args.no_save and not args.quick:
        console.print(f"Saved to {results.save(where, figures)}", highlight=False)
    return 0


def _end(number: int, _: object) -> None:
    """The row that runs in its own process ends with us."""
    sys.exit(128 + number)


def _saved(wanted: str | None) -> Path | None:
    if wanted is None:
        return None
    path = Path(wanted) if wanted else results.newest()
    if path is None or not path.is_file():
        sys.exit(f"Nothing to compare with: {path or 'no run was saved yet; make bench saves one'}.")
    return path


if __name__ == "__main__":
    sys.exit(main())

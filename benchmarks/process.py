"""One row in this process; `python -m benchmarks.process ROW ...` is what the parent starts."""

import argparse
import importlib
import logging
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.effort import FULL, QUICK
from benchmarks.report import Lines


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("row")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--backends", nargs="+", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--peers")
    args = parser.parse_args()
    logging.getLogger("salon").setLevel(logging.ERROR)  # A store in memory is meant here.
    measure(Bench(args.row, QUICK if args.quick else FULL, args.backends, args.folder, Lines(), args.peers))


def measure(bench: Bench) -> None:
    importlib.import_module(f"benchmarks.rows.{bench.row}").run(bench)


if __name__ == "__main__":
    main()

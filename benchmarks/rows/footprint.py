"""What salon adds to a process before it does anything: time to import it, and its size on disk.

Sketch: pydantic, anyio, aiosqlite and msgpack take 100 to 200 ms to import, nearly all of it pydantic and its models;
salon's own forty modules 30 ms, and building the classes of its models. 4 000 lines are 200 KB.

Held against importing the dependencies and making one model, because they load most of themselves when first used.
Each import has a process of its own; wall time.
Does not show: a first import without cached bytecode; what an application imports anyway.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import salon
import salon_actors
import salon_persistence
from benchmarks.bench import Bench
from benchmarks.meter import Sample, single, take_turns

USED = """
import asyncio, aiosqlite, anyio.abc, msgpack, pydantic
class Model(pydantic.BaseModel):
    number: int = 0
anyio.create_task_group
"""
IMPORTS = {
    "salon": "import salon",
    "dependencies": USED,
    "nothing": "pass",
}
TIMES = 3


def run(bench: Bench) -> None:
    cells: dict[str, Callable[[], Sample]] = {name: partial(started, code) for name, code in IMPORTS.items()}
    found = take_turns(bench.report, "imports", bench.effort, cells)
    ours, theirs = found["salon"]["ms"], found["dependencies"]["ms"]
    bench.less_is_better("", "python -c 'import salon'", "ms", ours, against="its dependencies", bare=theirs)
    bench.less_is_better("", "python -c pass", "ms", found["nothing"]["ms"])
    size = sum(source_bytes(Path(str(package.__file__)).parent) for package in (salon, salon_actors, salon_persistence))
    bench.less_is_better("", "installed, without bytecode and dependencies", "KB", single(size / 1024))


def started(code: str) -> Sample:
    """The quickest of a few: what a foreign load adds is not ours."""
    seconds: list[float] = []
    for _ in range(TIMES):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        seconds.append(time.perf_counter() - began)
    return {"ms": min(seconds) * 1e3}


def source_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")

"""Where and with what a run was made."""

import importlib.metadata
import os
import platform
import sqlite3
import subprocess
from datetime import UTC, datetime
from pathlib import Path

LIBRARIES = ("anyio", "trio", "uvloop", "pydantic", "msgpack", "aiosqlite", "pykka")


def described(folder: Path) -> dict[str, str]:
    """`folder` is where the databases of the run are."""
    versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": f"{os.cpu_count()} × {_processor()}, {_memory()}, {platform.system()} {platform.release()}",
        "disk": _file_system(folder),
        "load": load(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": sqlite3.sqlite_version,
        **versions,
    }


def load() -> str:
    """Processes that run or want to, on average over the last 1, 5 and 15 minutes."""
    return " ".join(f"{average:.1f}" for average in os.getloadavg())


def is_busy() -> bool:
    """Others use half of this machine or more."""
    return os.getloadavg()[0] > (os.cpu_count() or 1) / 2


def _commit() -> str:
    here = Path(__file__).parent
    try:
        commit = _output("git", "-C", str(here), "rev-parse", "--short=12", "HEAD")
        changed = _output("git", "-C", str(here), "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "not in a repository"
    return commit + (" with changes" if changed else "")


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _processor() -> str:
    return _line("/proc/cpuinfo", "model name") or platform.processor() or platform.machine()


def _memory() -> str:
    kilobytes = _line("/proc/meminfo", "MemTotal").removesuffix(" kB")
    return f"{int(kilobytes) / 1024**2:.0f} GiB" if kilobytes else "memory unknown"


def _line(path: str, name: str) -> str:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def _file_system(folder: Path) -> str:
    """The kind of file system that holds `folder`; a tmpfs would make every durable figure meaningless."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "unknown"
    holding = [(len(where), kind) for _, where, kind, *_ in mounts if folder.resolve().is_relative_to(where)]
    return max(holding)[1] if holding else "unknown"

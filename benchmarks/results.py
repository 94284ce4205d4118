"""Saved runs: a JSON file each, the newest last by name."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.figure import Figure, as_json, from_json

FOLDER = Path(__file__).parent / "results"


def save(machine: Mapping[str, str], figures: Sequence[Figure], folder: Path = FOLDER) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{machine['at'].replace(':', '')[:17]}-{machine['commit'][:8]}.json"
    saved = {"machine": dict(machine), "figures": [as_json(figure) for figure in figures]}
    path.write_text(json.dumps(saved, indent=1) + "\n")
    return path


def load(path: Path) -> tuple[Mapping[str, str], list[Figure]]:
    saved: dict[str, Any] = json.loads(path.read_text())
    return saved["machine"], [from_json(figure) for figure in saved["figures"]]


def newest(folder: Path = FOLDER) -> Path | None:
    return max(folder.glob("*.json"), default=None)

"""Time, chance and I/O are arguments: no module of the library uses them directly, or keeps state that sessions share.

Exceptions are the edge modules below, each with its reason; an exception that is no longer needed is an error too.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from tools.direct_use import direct_uses
from tools.finding import Finding, Rule
from tools.mutable_state import model_names, mutable_state

ROOT = Path(__file__).parent.parent
PACKAGES = ("actors/salon_actors", "persistence/salon_persistence", "runtime/salon")
EDGES: Mapping[str, Mapping[Rule, str]] = MappingProxyType(
    {
        "actors/salon_actors/clock.py": {"clock": "the port itself: the system's clock behind a protocol"},
        "actors/salon_actors/asyncio_host.py": {"clock": "the port itself: run later, on the asyncio loop"},
        "actors/salon_actors/trio_host.py": {"clock": "the port itself: run later, on the trio loop"},
        "persistence/salon_persistence/storage_thread.py": {
            "clock": "looks by real time whether the host's loop stands still: the port's own time would stand with it"
        },
        "persistence/salon_persistence/files.py": {"files": "the port itself: the files of a store, and their lock"},
        "runtime/salon/chance.py": {"chance": "the port itself: the system's random source behind a protocol"},
    }
)


def lint(sources: Mapping[str, str], edges: Mapping[str, Mapping[Rule, str]]) -> Iterator[tuple[str, Finding]]:
    """What is wrong in each of the sources, by path."""
    trees = {path: ast.parse(source, path) for path, source in sources.items()}
    models = model_names(list(trees.values()))
    for path, tree in trees.items():
        found = sorted({*direct_uses(tree), *mutable_state(tree, models)})
        allowed = edges.get(path, {})
        yield from ((path, finding) for finding in found if finding.rule not in allowed)
        yield from ((path, unused(rule)) for rule in allowed if rule not in {finding.rule for finding in found})
    for path in edges.keys() - sources.keys():
        yield path, Finding(0, "state", "is an exception here, and no module; take it off the list.")


def unused(rule: Rule) -> Finding:
    return Finding(0, rule, f"needs no exception for {rule} any more; take it off the list.")


def main() -> int:
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    sources = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in paths}
    found = list(lint(sources, EDGES))
    for path, finding in found:
        print(f"{path}:{finding.line}: {finding.rule}: {finding.sentence}")
    print(f"Ports: {len(sources)} modules read, {len(found)} findings, {len(EDGES)} edge modules.")
    return 1 if found or not sources else 0


if __name__ == "__main__":
    sys.exit(main())

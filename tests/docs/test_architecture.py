"""ARCHITECTURE.md shows what is there: every module has its row, every file, test and mutant that it names exists."""

import ast
import re
from pathlib import Path

import pytest

from tests.docs.mutants import parts, table

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
PACKAGES = ("actors/salon_actors", "persistence/salon_persistence", "runtime/salon")
PROOFS = TEXT.partition("\n## Promises and their proofs\n")[2].partition("\n## ")[0]


def section(heading: str) -> str:
    return TEXT.partition(f"\n### {heading}\n")[2].partition("\n##")[0]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_has_its_row_and_every_row_its_module(package: str) -> None:
    paths = [path.relative_to(ROOT / package) for path in (ROOT / package).rglob("*.py") if path.stem != "__init__"]
    modules = sorted(".".join(path.with_suffix("").parts) for path in paths)

    assert modules == sorted(re.findall(r"^\| `([\w.]+)` \|", section(package), re.MULTILINE))


def test_every_file_that_is_named_exists() -> None:
    named = set(re.findall(r"`((?:actors|persistence|runtime|tests|tools|examples|docs)/[\w./-]+)(?:::\w+)?`", TEXT))

    assert len(named) > 30
    assert [] == [name for name in sorted(named) if not (ROOT / name).exists()]


def test_every_test_that_proves_a_promise_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)

    assert len(named) > 16
    assert [] == [f"{path}::{name}" for path, name in named if name not in functions_of(ROOT / path)]


def functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_promise_names_its_tests() -> None:
    promises = PROOFS.split("\n### ")[1:]

    assert len(promises) == 14
    assert all("::test_" in promise for promise in promises)


def test_every_mutant_stands_in_the_table() -> None:
    assert parts()[1].strip() == table(), "python -m tests.docs.mutants writes it anew"

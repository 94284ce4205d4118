"""The public face: nothing is missing from it, nothing is in it that users cannot import, and changes are seen."""

import ast
import importlib
import json
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import salon
import salon.errors
from tests.public.listing import MODULES, TARGET, exported, listing, members, public_names, tree_of

ROOT = Path(__file__).parent.parent.parent
PACKAGE_ROOTS = ("actors", "persistence", "runtime")
OURS = ("salon", "salon_actors", "salon_persistence")
CORE = frozenset(
    (*OURS, "aiosqlite", "annotated_types", "anyio", "idna", "msgpack", "pydantic", "pydantic_core", "sniffio",
     "typing_extensions", "typing_inspection")
)  # fmt: skip
MADE_BY_SALON = frozenset(
    ("DeadLetters", "Delivery", "InterruptedTurn", "Receipt", "Receiver", "SessionHandle", "SessionView", "Turn",
     "TurnStream")
)  # fmt: skip
"""Users get them and never construct them, so that their constructors are not public."""
FOR_STORES = frozenset({"Store", "FaultyStore"})
"""Whoever writes a store imports from salon_persistence, which speaks of records that no bot sees."""

SILENT = frozenset({"Clock"})
"""A protocol whose methods say it all."""


def modules() -> list[str]:
    found = [path for root in PACKAGE_ROOTS for path in (ROOT / root).rglob("*.py")]
    return sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts[1:]).removesuffix(".__init__") for path in found
    )


def test_the_listing_of_the_face_is_up_to_date() -> None:
    assert TARGET.read_text(encoding="utf-8") == listing(), "python -m tests.public.listing writes it anew"


@pytest.mark.parametrize("name", MODULES)
def test_what_the_package_exports_can_be_imported_and_nothing_else_is_there(name: str) -> None:
    module = importlib.import_module(name)
    submodules = {found.rpartition(".")[2] for found in modules() if found.rpartition(".")[0] == name}
    there = {public for public in vars(module) if not public.startswith("_")}

    assert set(exported(name)) <= there
    assert there <= set(exported(name)) | submodules


@pytest.mark.parametrize("name", MODULES)
def test_a_list_of_all_names_names_all(name: str) -> None:
    declared = getattr(importlib.import_module(name), "__all__", None)

    assert declared is None or sorted(exported(name)) == sorted(declared)


def test_every_public_error_is_exported() -> None:
    errors = {value for value in vars(salon.errors).values() if isinstance(value, type)}

    assert {error.__name__ for error in errors if issubclass(error, salon.SalonError)} <= set(exported("salon"))


@pytest.mark.parametrize("module", MODULES)
def test_what_a_public_signature_names_is_public_too(module: str) -> None:
    public = set[str]().union(*map(exported, MODULES))
    hidden = {
        f"{found.name}: {name}"
        for found in public_names(module)
        if found.name not in FOR_STORES
        for annotation in annotations_of(found.name, *found.nodes)
        for name in names_of_ours(annotation, found.module)
        if name not in public
    }

    assert set() == hidden


def annotations_of(name: str, *nodes: ast.stmt) -> list[ast.expr]:
    parts = [part for node in nodes for part in (members(node) if isinstance(node, ast.ClassDef) else [node])]
    found: list[ast.expr | None] = []
    for part in parts:
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
            if name in MADE_BY_SALON and part.name == "__init__":
                continue
            spec = part.args
            found += [part.returns, *(a.annotation for a in (*spec.posonlyargs, *spec.args, *spec.kwonlyargs))]
            found += [a.annotation for a in (spec.vararg, spec.kwarg) if a]
        elif isinstance(part, ast.AnnAssign) and not ast.unparse(part.annotation).startswith("ClassVar"):
            found.append(part.annotation)
    return [annotation for annotation in found if annotation is not None]


def names_of_ours(annotation: ast.expr, module: str) -> set[str]:
    """Names in it that are classes or aliases of salon's own; type variables and others' names are not."""
    tree = tree_of(module)
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in OURS
        for alias in node.names
    }
    defined = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    used = {node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)}
    return {name for name in used & (imported | defined) if not name.startswith("_")}


@pytest.mark.parametrize("module", modules())
def test_every_module_says_what_it_is(module: str) -> None:
    assert ast.get_docstring(tree_of(module)), module


@pytest.mark.parametrize("module", MODULES)
def test_every_public_class_and_function_says_what_it_is(module: str) -> None:
    silent = [
        found.name
        for found in public_names(module)
        for node in found.nodes
        if isinstance(node, ast.ClassDef) and not ast.get_docstring(node)
    ]

    assert set() == set(silent) - SILENT


def test_importing_salon_imports_no_optional_dependency() -> None:
    look = "import json, sys; before = set(sys.modules); import salon, salon.testing; "
    report = "print(json.dumps(sorted({name.split('.')[0] for name in set(sys.modules) - before})))"
    done = subprocess.run([sys.executable, "-c", look + report], capture_output=True, text=True, timeout=50, check=True)
    imported = set(json.loads(done.stdout))

    assert {"salon", "pydantic"} <= imported
    assert set() == (imported & packages_distributions().keys()) - CORE

"""Lists the public face of salon, read from the source, so that each change to it is seen in review.

Run: python -m tests.public.listing     writes tests/api.txt anew
"""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

MODULES = ("salon", "salon.testing")
TARGET = Path(__file__).parent.parent / "api.txt"
HEAD = "# The public face, as `python -m tests.public.listing` writes it. A test compares it with the source.\n"
SHOWN = frozenset({"__init__", "__len__", "__bool__", "__aenter__", "__aexit__"})


@dataclass(frozen=True, slots=True)
class Public:
    """A name that users import, and where it is defined; an overloaded function has several nodes."""

    name: str
    module: str
    nodes: tuple[ast.stmt, ...]


def tree_of(module: str) -> ast.Module:
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))


def exported(module: str) -> dict[str, str]:
    """What the module's own `__init__` re-exports as `X as X`, and from where."""
    return {
        alias.asname: node.module or ""
        for node in tree_of(module).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname is not None and alias.asname == alias.name
    }


def public_names(module: str) -> list[Public]:
    """In the order of the alphabet."""
    return [_found(name, source) for name, source in sorted(exported(module).items())]


def members(node: ast.ClassDef) -> Iterator[ast.stmt]:
    """Public fields and methods, in the order of the source; overloads, without the implementation behind them."""
    for part in _without_implementations(node.body):
        if _is_shown(_name(part)):
            yield part


def listing() -> str:
    lines = [HEAD]
    for module in MODULES:
        lines.append(f"\n{module}\n")
        for public in public_names(module):
            lines += [f"    {line}\n" for node in public.nodes for line in _lines(node)]
    return "".join(lines)


def _found(name: str, module: str) -> Public:
    nodes = tuple(node for node in _without_implementations(tree_of(module).body) if _name(node) == name)
    return Public(name, module, nodes) if nodes else _found(name, exported(module)[name])


def _without_implementations(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that name something; of an overloaded function its overloads alone."""
    overloaded = {_name(node) for node in body if _is_overload(node)}
    for node in body:
        if _name(node) and (_name(node) not in overloaded or _is_overload(node)):
            yield node


def _lines(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.ClassDef):
        yield from (f"@{ast.unparse(mark)}" for mark in node.decorator_list)
        bases = ", ".join(ast.unparse(base) for base in [*node.bases, *node.keywords])
        yield f"class {node.name}({bases})" if bases else f"class {node.name}"
        for member in members(node):
            yield f"    {_line(member)}"
    else:
        yield _line(node)


def _line(node: ast.stmt) -> str:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        marks = "".join(f"@{ast.unparse(mark)} " for mark in node.decorator_list)
        verb = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        return f"{marks}{verb} {node.name}({ast.unparse(node.args)}){returns}"
    return ast.unparse(node)


def _is_overload(node: ast.stmt) -> bool:
    marks = node.decorator_list if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else []
    return "overload" in [ast.unparse(mark) for mark in marks]


def _name(node: ast.stmt) -> str:
    """What the statement defines; empty for one that defines nothing."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return node.name
    target: ast.expr | None = None
    if isinstance(node, ast.AnnAssign):
        target = node.target
    elif isinstance(node, ast.Assign):
        target = node.targets[0]
    return target.id if isinstance(target, ast.Name) else ""


def _is_shown(name: str) -> bool:
    return name in SHOWN or (bool(name) and not name.startswith("_"))


if __name__ == "__main__":
    TARGET.write_text(listing(), encoding="utf-8")

"""Finds uses of clocks, chance, the environment and files that do not come in as an argument.

A name is followed through the imports of its module, so that `from time import monotonic as now` hides nothing.
A use counts, not only a call: `clock = time.monotonic` is a direct clock too.
"""

import ast
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from tools.finding import Finding, Rule

# A name ending in ".*" stands for everything below it; the longest match decides, and None means harmless.
NAMES: Mapping[str, Rule | None] = MappingProxyType(
    {
        "time.*": "clock",
        "time.struct_time": None,
        "datetime.datetime.now": "clock",
        "datetime.datetime.utcnow": "clock",
        "datetime.datetime.today": "clock",
        "datetime.date.today": "clock",
        "asyncio.sleep": "clock",
        "asyncio.timeout": "clock",
        "asyncio.timeout_at": "clock",
        "asyncio.wait_for": "clock",
        "anyio.sleep": "clock",
        "anyio.sleep_until": "clock",
        "anyio.current_time": "clock",
        "anyio.fail_after": "clock",
        "anyio.move_on_after": "clock",
        "trio.sleep": "clock",
        "trio.sleep_until": "clock",
        "trio.current_time": "clock",
        "trio.fail_after": "clock",
        "trio.fail_at": "clock",
        "trio.move_on_after": "clock",
        "trio.move_on_at": "clock",
        "threading.Timer": "clock",
        "sched.*": "clock",
        "random.*": "chance",
        "random.Random": None,  # As the type of an argument; making one is found as a call.
        "secrets.*": "chance",
        "uuid.uuid1": "chance",
        "uuid.uuid4": "chance",
        "uuid.uuid6": "chance",
        "uuid.uuid7": "chance",
        "uuid.uuid8": "chance",
        "uuid.getnode": "environment",
        "os.*": "files",
        "os.urandom": "chance",
        "os.getrandom": "chance",
        "os.environ": "environment",
        "os.environ.*": "environment",
        "os.environb": "environment",
        "os.environb.*": "environment",
        "os.getenv": "environment",
        "os.getenvb": "environment",
        "os.putenv": "environment",
        "os.unsetenv": "environment",
        "os.getcwd": "environment",
        "os.PathLike": None,
        "os.fspath": None,
        "os.fsencode": None,
        "os.fsdecode": None,
        "os.getpid": None,  # Who runs, which nothing in a session depends on.
        "os.register_at_fork": None,
        "os.name": None,
        "os.sep": None,
        "os.path.*": "files",
        "os.path.basename": None,
        "os.path.dirname": None,
        "os.path.join": None,
        "os.path.normpath": None,
        "os.path.split": None,
        "os.path.splitext": None,
        "open": "files",
        "io.open": "files",
        "io.FileIO": "files",
        "anyio.open_file": "files",
        "anyio.Path": "files",
        "trio.open_file": "files",
        "trio.Path": "files",
        "fcntl.*": "files",
        "glob.*": "files",
        "mmap.*": "files",
        "shutil.*": "files",
        "tempfile.*": "files",
        "getpass.*": "environment",
        "socket.*": "environment",
        "subprocess.*": "environment",
    }
)
CALLS: Mapping[str, Rule] = MappingProxyType({"random.Random": "chance"})
METHODS: Mapping[str, Rule] = MappingProxyType(
    {
        "call_later": "clock",
        "call_at": "clock",
        **dict.fromkeys(("read_text", "read_bytes", "write_text", "write_bytes"), "files"),
        **dict.fromkeys(("expanduser", "hardlink_to", "is_dir", "is_file", "iterdir", "mkdir"), "files"),
        **dict.fromkeys(("rglob", "rmdir", "symlink_to", "unlink"), "files"),
    }
)
# These are methods of other things too, so that they count only where a module imports pathlib.
PATH_METHODS = frozenset({"chmod", "exists", "glob", "lstat", "open", "rename", "resolve", "samefile", "stat", "touch"})


def direct_uses(tree: ast.Module) -> Iterator[Finding]:
    """Every use in the module that its callers cannot replace."""
    imported = imported_names(tree)
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    knows_paths = any(name.split(".")[0] == "pathlib" for name in imported.values())
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and not isinstance(parents.get(node), ast.Attribute):
            yield from found_in_name(node, parents.get(node), imported)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield from found_in_method(node.func, imported, knows_paths)


def imported_names(tree: ast.Module) -> dict[str, str]:
    """What each imported name stands for, wherever in the module it is imported."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
    return names


def dotted(node: ast.expr, imported: Mapping[str, str]) -> str | None:
    """`datetime.datetime.now` of `dt.now`, when dt was imported as that; None for what is no plain name."""
    if isinstance(node, ast.Name):
        return imported.get(node.id, node.id if node.id == "open" else None)
    if isinstance(node, ast.Attribute):
        owner = dotted(node.value, imported)
        return owner and f"{owner}.{node.attr}"
    return None


def rule_of(name: str) -> Rule | None:
    if name in NAMES:
        return NAMES[name]
    parts = name.split(".")
    above = (".".join(parts[:length]) for length in range(len(parts) - 1, 0, -1))
    return next((NAMES[f"{prefix}.*"] for prefix in above if f"{prefix}.*" in NAMES), None)


def found_in_name(
    node: ast.Name | ast.Attribute, parent: ast.AST | None, imported: Mapping[str, str]
) -> Iterator[Finding]:
    name = dotted(node, imported)
    if name is None or not isinstance(node.ctx, ast.Load) or is_yielding(name, parent):
        return
    called = isinstance(parent, ast.Call) and parent.func is node
    rule = (called and CALLS.get(name)) or rule_of(name)
    if rule:
        yield Finding(node.lineno, rule, f"{name} is used directly; take it as an argument.")


def is_yielding(name: str, parent: ast.AST | None) -> bool:
    """`sleep(0)` lets others run and reads no clock."""
    if not name.endswith(".sleep") or not isinstance(parent, ast.Call) or len(parent.args) != 1:
        return False
    seconds = parent.args[0]
    return isinstance(seconds, ast.Constant) and seconds.value == 0


def found_in_method(method: ast.Attribute, imported: Mapping[str, str], knows_paths: bool) -> Iterator[Finding]:
    name = dotted(method, imported)
    if name and rule_of(name):
        return  # Found by its name already.
    rule = METHODS.get(method.attr)
    if knows_paths and method.attr in PATH_METHODS and not is_own(method.value):
        rule = "files"
    if method.attr == "time" and ast.unparse(method.value).endswith(("loop", "loop()")):
        rule = "clock"
    if rule:
        yield Finding(method.lineno, rule, f".{method.attr}() is called directly; take it as an argument.")


def is_own(owner: ast.expr) -> bool:
    return isinstance(owner, ast.Name) and owner.id in {"self", "cls"}

"""Finds state that all sessions of a process would share: mutable values of modules, classes and default arguments.

Fields of a pydantic model may have mutable defaults, because pydantic copies them for each instance.
"""

import ast
from collections.abc import Iterator, Sequence

from tools.finding import Finding

MAKERS = frozenset(
    {
        *(
            "list",
            "dict",
            "set",
            "bytearray",
            "deque",
            "defaultdict",
            "OrderedDict",
            "Counter",
            "ChainMap",
            "count",
            "cycle",
        ),
        *("WeakKeyDictionary", "WeakValueDictionary", "WeakSet", "SimpleNamespace", "StringIO", "BytesIO", "array"),
        *("Lock", "RLock", "Semaphore", "BoundedSemaphore", "Event", "Condition", "local", "Queue", "SimpleQueue"),
    }
)
CACHES = frozenset({"cache", "lru_cache"})
CONVENTIONS = frozenset({"__all__", "__slots__", "__match_args__"})
DEFINING = frozenset({"__init_subclass__", "__pydantic_init_subclass__", "__set_name__"})
MODEL_ROOTS = frozenset({"BaseModel", "RootModel"})


def model_names(trees: Sequence[ast.Module]) -> frozenset[str]:
    """Names of the classes that are pydantic models, through any number of bases in any of the modules."""
    bases: dict[str, set[str]] = {}
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.ClassDef):
            bases.setdefault(node.name, set()).update(last_name(base) for base in node.bases)
    models = set(MODEL_ROOTS)
    while more := {name for name, above in bases.items() if above & models} - models:
        models |= more
    return frozenset(models)


def mutable_state(tree: ast.Module, models: frozenset[str]) -> Iterator[Finding]:
    """Every value in the module that outlives a session and can change."""
    for scope, statement in lasting_statements(tree):
        is_model = isinstance(scope, ast.ClassDef) and any(last_name(base) in models for base in scope.bases)
        yield from found_in_statement(scope, statement, is_model)
    for node in ast.walk(tree):
        yield from found_in_function(node)


def lasting_statements(tree: ast.Module) -> Iterator[tuple[ast.Module | ast.ClassDef, ast.stmt]]:
    """The bodies of the module and of its classes, wherever they are, through if, try, with and for."""
    for scope in ast.walk(tree):
        if not isinstance(scope, ast.Module | ast.ClassDef):
            continue
        waiting: list[ast.AST] = list(scope.body)
        while waiting:
            node = waiting.pop()
            if isinstance(node, ast.stmt):
                yield scope, node
            if isinstance(node, ast.If | ast.Try | ast.With | ast.For | ast.While | ast.ExceptHandler):
                waiting += ast.iter_child_nodes(node)


def found_in_statement(scope: ast.AST, statement: ast.stmt, is_model: bool) -> Iterator[Finding]:
    if isinstance(statement, ast.Assign):
        targets, value = statement.targets, statement.value
    elif isinstance(statement, ast.AnnAssign) and statement.value:
        targets, value = [statement.target], statement.value
        if is_model and "ClassVar" not in ast.unparse(statement.annotation):
            return
    else:
        return
    names = [ast.unparse(target) for target in targets]
    if is_mutable(value) and not CONVENTIONS.issuperset(names):
        owner = f"class {scope.name}" if isinstance(scope, ast.ClassDef) else "the module"
        sentence = f"{names[0]} is mutable state of {owner}; make it a tuple, frozenset or MappingProxyType."
        yield Finding(statement.lineno, "state", sentence)


def is_mutable(value: ast.expr) -> bool:
    if isinstance(value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp | ast.GeneratorExp):
        return True
    if isinstance(value, ast.BinOp):
        return is_mutable(value.left) or is_mutable(value.right)
    if isinstance(value, ast.IfExp):
        return is_mutable(value.body) or is_mutable(value.orelse)
    if not isinstance(value, ast.Call):
        return False
    name = last_name(value.func)
    return name in MAKERS or (name == "ContextVar" and any(is_mutable(word.value) for word in value.keywords))


def found_in_function(node: ast.AST) -> Iterator[Finding]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        yield from found_in_decorators(node)
        yield from found_in_assignments(node)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        for default in [*node.args.defaults, *node.args.kw_defaults]:
            if default is not None and is_mutable(default):
                yield Finding(default.lineno, "state", f"The default {ast.unparse(default)} is shared by all calls.")
    if isinstance(node, ast.Global):
        yield Finding(node.lineno, "state", f"global {', '.join(node.names)} changes state of the module.")


def found_in_decorators(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[Finding]:
    for decorator in function.decorator_list:
        if last_name(decorator) in CACHES:
            yield Finding(decorator.lineno, "state", f"The cache of {function.name} is state of the module.")


def found_in_assignments(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[Finding]:
    """Assignments to attributes of the class outside of the hooks that define it."""
    if function.name in DEFINING:
        return
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            owner = ast.unparse(node.value)
            if owner in {"cls", "type(self)", "self.__class__"}:
                yield Finding(node.lineno, "state", f"{owner}.{node.attr} is assigned: state of the class.")


def last_name(node: ast.expr) -> str:
    """`Counter` of `collections.Counter[str]()`."""
    while isinstance(node, ast.Subscript | ast.Call):
        node = node.value if isinstance(node, ast.Subscript) else node.func
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""

"""The lint of the ports finds what it should, and leaves alone what is harmless."""

import subprocess
import sys
from textwrap import dedent

import pytest

from tools.finding import Rule
from tools.lint_ports import ROOT, lint

BAD: list[tuple[Rule, str]] = [
    ("clock", "import time\ntime.monotonic()"),
    ("clock", "from time import monotonic as now\nnow()"),
    ("clock", "import time\nclock = time.time"),
    ("clock", "from datetime import datetime as dt, UTC\ndt.now(UTC)"),
    ("clock", "import datetime\ndatetime.datetime.utcnow()"),
    ("clock", "from datetime import date\ndate.today()"),
    ("clock", "import asyncio\nasync def f():\n    await asyncio.sleep(1)"),
    ("clock", "import asyncio\nasync def f():\n    return asyncio.get_running_loop().time()"),
    ("clock", "def f(self):\n    return self.loop.time()"),
    ("clock", "def f(loop, act):\n    loop.call_later(1, act)"),
    ("clock", "import anyio\ndef f():\n    return anyio.move_on_after(1)"),
    ("clock", "def f():\n    import time\n    return time.perf_counter()"),
    ("chance", "import random\nrandom.random()"),
    ("chance", "from random import Random\nRandom(1)"),
    ("chance", "import secrets\nsecrets.token_hex()"),
    ("chance", "from uuid import uuid4\nuuid4()"),
    ("chance", "import os\nos.urandom(8)"),
    ("environment", "import os\nos.environ['HOME']"),
    ("environment", "import os\nos.environ.get('HOME')"),
    ("environment", "from os import getenv\ngetenv('HOME')"),
    ("files", "open('a')"),
    ("files", "import io\nio.open('a')"),
    ("files", "import os\nos.unlink('a')"),
    ("files", "import os.path\nos.path.exists('a')"),
    ("files", "from pathlib import Path\nPath('a').read_text()"),
    ("files", "from pathlib import Path\ndef f(path: Path):\n    return path.exists()"),
    ("files", "def f(path):\n    path.write_bytes(b'')"),
    ("files", "import fcntl\nfcntl.flock(0, fcntl.LOCK_EX)"),
    ("state", "SEEN = []"),
    ("state", "SEEN: dict[str, int] = {}"),
    ("state", "from typing import Final\nSEEN: Final = {'a': 1}"),
    ("state", "from collections import Counter, deque\nCOUNTS = Counter[str]()"),
    ("state", "import itertools\nNUMBERS = itertools.count()"),
    ("state", "if True:\n    SEEN = set()"),
    ("state", "try:\n    import x\nexcept ImportError:\n    SEEN = []"),
    ("state", "class A:\n    seen = []"),
    ("state", "class A:\n    class B:\n        seen = {1: 2}"),
    ("state", "def f():\n    class A:\n        seen = []"),
    ("state", "def f(seen=[]): ..."),
    ("state", "def f(*, seen=dict()): ..."),
    ("state", "f = lambda seen={}: seen"),
    ("state", "import functools\n@functools.lru_cache(maxsize=1)\ndef f(): ..."),
    ("state", "COUNT = 0\ndef f():\n    global COUNT\n    COUNT += 1"),
    ("state", "class A:\n    count = 0\n    def f(self):\n        type(self).count += 1"),
    ("state", "class A:\n    @classmethod\n    def f(cls):\n        cls.count = 1"),
    ("state", "from contextvars import ContextVar\nSEEN = ContextVar('seen', default=[])"),
    ("state", "import threading\nLOCK = threading.Lock()"),
    (
        "state",
        "from pydantic import BaseModel\nclass A(BaseModel):\n    a: ClassVar[list[int]] = []",
    ),
]
GOOD = [
    "import time\ndef f(at: time.struct_time): ...",
    "from datetime import UTC, datetime\ndatetime.fromtimestamp(0, UTC)",
    "from random import Random\ndef f(random: Random):\n    return random.random()",
    "from uuid import UUID\nUUID(bytes=bytes(16))",
    "import os\ndef f(path: os.PathLike[str]):\n    return os.fspath(path)",
    "import os.path\nos.path.join('a', 'b')",
    "import asyncio\nasync def f():\n    await asyncio.sleep(0)",
    "async def f(clock):\n    await clock.sleep(1)",
    "async def f(store):\n    await store.open()",
    "from pathlib import Path\nclass A:\n    def open(self): ...\n    def f(self):\n        self.open()",
    "def f(at, span):\n    return at.time()",
    "__all__ = ['f']",
    "class A:\n    __slots__ = ['a']",
    "NAMES = ('a', 'b')\nMORE = frozenset({'a'})",
    "from types import MappingProxyType\nNAMES = MappingProxyType({'a': 1})",
    "from typing import TypeVar\nT = TypeVar('T')",
    "from contextvars import ContextVar\nTURN = ContextVar('turn')",
    "import logging\nLOG = logging.getLogger('salon')",
    "from pydantic import BaseModel\nclass A(BaseModel):\n    names: list[str] = []",
    "from dataclasses import dataclass, field\n@dataclass\nclass A:\n    a: list[str] = field(default_factory=list)",
    "class A:\n    def __init_subclass__(cls, name):\n        cls.name = name",
    "def f():\n    seen = []\n    return seen",
    "class A:\n    def f(self):\n        self.seen = []",
]


def rules(source: str) -> list[Rule]:
    return [finding.rule for _, finding in lint({"a.py": source}, {})]


@pytest.mark.parametrize(("rule", "source"), BAD)
def test_a_direct_use_is_found(rule: Rule, source: str) -> None:
    assert {rule} == set(rules(source))


@pytest.mark.parametrize("source", GOOD)
def test_a_harmless_piece_of_code_passes(source: str) -> None:
    assert [] == rules(source)


def test_a_model_is_known_through_a_base_in_another_module() -> None:
    sources = {
        "a.py": "from pydantic import BaseModel\nclass Message(BaseModel): ...",
        "b.py": "from a import Message\nclass Say(Message):\n    words: list[str] = []",
        "c.py": "class Say2:\n    words: list[str] = []",
    }

    assert ["c.py"] == [path for path, _ in lint(sources, {})]


def test_a_finding_says_where_it_is() -> None:
    source = dedent("""
        import time

        def f() -> float:
            return time.time()
    """)

    [(path, finding)] = lint({"a.py": source}, {})

    assert ("a.py", 5) == (path, finding.line)


def test_an_edge_module_may_use_what_its_reason_names_and_nothing_else() -> None:
    source = "import os, time\ntime.time()\nos.urandom(1)"

    assert ["chance"] == [finding.rule for _, finding in lint({"a.py": source}, {"a.py": {"clock": "the clock"}})]


def test_an_exception_without_a_use_or_a_module_is_an_error() -> None:
    unused: dict[str, dict[Rule, str]] = {"a.py": {"clock": "not used"}, "gone.py": {"files": "not there"}}

    assert ["a.py", "gone.py"] == sorted(path for path, _ in lint({"a.py": ""}, unused))


def test_the_command_reads_the_library_and_answers_with_its_status() -> None:
    done = subprocess.run([sys.executable, "-m", "tools.lint_ports"], cwd=ROOT, capture_output=True, text=True)

    assert " modules read" in done.stdout
    assert (" 0 findings" in done.stdout) == (done.returncode == 0)

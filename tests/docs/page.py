"""Runs the Python blocks of one page, in order and in one namespace, and says what each printed.

Run: python page.py PAGE.md     in an empty folder; the answer is JSON: [line, printed] of every block
"""

import json
import re
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from types import ModuleType

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block; `line` is that of its first line of text."""

    language: str
    text: str
    line: int


def blocks_of(page: str) -> list[Block]:
    return [Block(found[1], found[2], page.count("\n", 0, found.start(2)) + 1) for found in FENCE.finditer(page)]


def run(path: Path) -> list[tuple[int, str]]:
    """Raises whatever a block raises; its traceback shows lines of the page."""
    module = ModuleType("page")
    sys.modules["page"] = module
    printed: list[tuple[int, str]] = []
    for block in blocks_of(path.read_text(encoding="utf-8")):
        if block.language == "python":
            code = compile("\n" * (block.line - 1) + block.text, str(path), "exec")
            with redirect_stdout(StringIO()) as out:
                exec(code, module.__dict__)
            printed.append((block.line, out.getvalue()))
    return printed


if __name__ == "__main__":
    answer = run(Path(sys.argv[1]))
    sys.stdout.write(json.dumps(answer))

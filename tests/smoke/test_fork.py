"""A forked child inherits the memory of its parent, and must not take itself for it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VERBS = ["ask", "create", "find", "get", "info", "peek"]


@pytest.mark.parametrize("kind", ["sqlite", "memory"])
def test_after_a_fork_every_verb_of_the_child_raises_and_the_parent_goes_on(
    tmp_path: Path, backend: str, kind: str
) -> None:
    store = f"sqlite:///{tmp_path / 'chat.db'}" if kind == "sqlite" else "memory://"
    command = [sys.executable, "-W", "ignore", "-m", "tests.smoke.forking", store, backend]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50)
    child, elements = json.loads(done.stdout)

    assert {verb: child[verb].startswith("raised") for verb in VERBS} == dict.fromkeys(VERBS, True), child
    assert ["before", "after"] == elements

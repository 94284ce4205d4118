"""The runner of the mutants tells a caught one from a missed one, and neither from a broken one."""

import subprocess
from pathlib import Path

import pytest

from tests.mutants.run import main

SOURCE = "def double(n: int) -> int:\n    return 2 * n\n"
TEST = "from arithmetic import double\n\n\ndef test_double() -> None:\n    assert double(4) == 8\n"
SETTINGS = '[tool.pytest.ini_options]\npythonpath = ["."]\n'
DIFF = """\
diff --git a/arithmetic.py b/arithmetic.py
--- a/arithmetic.py
+++ b/arithmetic.py
@@ -1,2 +1,2 @@
 def double(n: int) -> int:
-    return 2 * n
+    return {wrong}
"""
HEADER = "Test: test_arithmetic.py::test_double\nBreaks: double no longer doubles\n\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "mutants").mkdir(parents=True)
    for name, text in {"arithmetic.py": SOURCE, "test_arithmetic.py": TEST, "pyproject.toml": SETTINGS}.items():
        (root / name).write_text(text)
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    return root


def run(tree: Path, patch: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    (tree / "mutants" / "1-double.patch").write_text(patch)
    return main([], tree / "mutants", tree), capsys.readouterr().out


def test_a_mutant_whose_test_fails_is_caught(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = run(tree, HEADER + DIFF.format(wrong="n + n + 1"), capsys)

    assert status == 0, said
    assert "1 of 1 caught" in said


def test_a_mutant_whose_test_passes_is_missed(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = run(tree, HEADER + DIFF.format(wrong="n + n"), capsys)

    assert status == 1
    assert "passes with the patch" in said


def test_a_mutant_that_cannot_be_imported_is_missed(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = run(tree, HEADER + DIFF.format(wrong="2 *"), capsys)

    assert status == 1
    assert "was not run" in said


def test_a_mutant_that_does_not_apply_is_missed(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = run(tree, HEADER + DIFF.format(wrong="0").replace("2 * n", "3 * n"), capsys)

    assert status == 1
    assert "git apply" in said


def test_a_mutant_whose_test_fails_anyway_is_missed(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "test_arithmetic.py").write_text(TEST.replace("8", "9"))

    status, said = run(tree, HEADER + DIFF.format(wrong="0"), capsys)

    assert status == 1
    assert "fails without the patch" in said


def test_a_mutant_without_a_header_is_missed(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = run(tree, DIFF.format(wrong="0"), capsys)

    assert status == 1
    assert "lacks a line" in said


def test_no_mutant_at_all_is_an_error(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nothing"], tree / "mutants", tree) == 1
    assert "no mutant to try" in capsys.readouterr().out

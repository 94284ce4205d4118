"""What type checkers see of the public face, by both of them: what must be inferred is, and what is wrong is told.

The files of tests/typing hold `assert_type` and mistakes. Each mistake carries a `type: ignore` that both checkers
report as unnecessary as soon as they no longer see it.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
FILES = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "tests" / "typing").glob("*.py"))]
MISTAKES_MIN = 20


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=180)


def test_there_are_mistakes_to_be_told() -> None:
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in FILES]

    assert sum(text.count("# type: ignore[") for text in texts) >= MISTAKES_MIN
    assert all("reportUnnecessaryTypeIgnoreComment=true" in text for text in texts)


@pytest.mark.timeout(200)
def test_mypy_infers_replies_and_tells_mistakes() -> None:
    done = run("mypy", "--strict", *FILES)

    assert done.stdout.endswith(f"no issues found in {len(FILES)} source files\n"), done.stdout + done.stderr


@pytest.mark.timeout(200)
def test_pyright_infers_replies_and_tells_mistakes() -> None:
    done = run("pyright", "--outputjson", *FILES)
    report = json.loads(done.stdout)

    assert [] == report["generalDiagnostics"]
    assert len(FILES) == report["summary"]["filesAnalyzed"]

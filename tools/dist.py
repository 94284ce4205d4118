"""Builds the sdist, the wheel from the sdist, installs the wheel bare, and tries it as a stranger would.

Asserted: the names that the wheel puts into site-packages, `py.typed` in each of them, that importing salon imports no
optional dependency, and that the README's example runs and remembers.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
NAMES = {"salon", "salon_actors", "salon_persistence"}
OPTIONAL = ("trio", "uvloop", "cryptography", "fastapi", "starlette", "gradio", "aiogram", "agents", "rich", "pytest")
LOOK_FOR_OPTIONAL = "import sys, salon; print(sorted(set(sys.argv[1:]) & set(sys.modules)))"


class DistError(Exception):
    """What is wrong with the distribution."""


def run(command: Sequence[str | Path], cwd: Path, environment: Mapping[str, str] | None = None) -> str:
    done = subprocess.run([str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise DistError(f"{' '.join(str(word) for word in command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def build(target: Path) -> Path:
    """The wheel; `build` without a choice makes the sdist first and the wheel out of that."""
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", target, ROOT], target)
    [wheel] = target.glob("*.whl")
    return wheel


def check_names(wheel: Path) -> None:
    files = zipfile.ZipFile(wheel).namelist()
    names = {name.partition("/")[0] for name in files if not name.partition("/")[0].endswith(".dist-info")}
    if names != NAMES:
        raise DistError(f"The wheel installs {sorted(names)}, not {sorted(NAMES)}.")
    if untyped := {name for name in names if f"{name}/py.typed" not in files}:
        raise DistError(f"There is no py.typed in {sorted(untyped)}.")


def install(wheel: Path, folder: Path) -> Path:
    """A fresh environment with the wheel and what it requires in the locked versions, no extras; its python."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    constraints = folder / "constraints.txt"
    constraints.write_text(versions((ROOT / "requirements-dev.lock").read_text(encoding="utf-8")), encoding="utf-8")
    quiet = ("--quiet", "--disable-pip-version-check")
    run([python, "-m", "pip", "install", *quiet, "--constraint", constraints, wheel], folder)
    return python


def versions(lock: str) -> str:
    """The lock without its hashes: constraints cannot have them, as the wheel has none."""
    pinned = (
        line.removesuffix("\\").strip() for line in lock.splitlines() if "==" in line and not line.startswith("#")
    )
    return "\n".join(pinned)


def check_imports(python: Path, folder: Path, environment: Mapping[str, str]) -> None:
    imported = run([python, "-c", LOOK_FOR_OPTIONAL, *OPTIONAL], folder, environment).strip()
    if imported != "[]":
        raise DistError(f"Importing salon imports {imported}.")


def check_example(python: Path, folder: Path, environment: Mapping[str, str]) -> None:
    shutil.copy(ROOT / "examples" / "readme.py", folder)
    said = [run([python, "readme.py"], folder, environment).strip() for _ in range(2)]
    expected = ["I have read 3 lines.", "I have read 7 lines."]
    if said != expected:
        raise DistError(f"The README's example said {said}, not {expected}.")


def main() -> int:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    with tempfile.TemporaryDirectory(prefix="salon-dist-") as name:
        folder = Path(name)
        try:
            wheel = build(folder)
            check_names(wheel)
            python = install(wheel, folder / "bare")
            check_imports(python, folder, environment)
            check_example(python, folder, environment)
        except DistError as error:
            print(f"dist: {error}", file=sys.stderr)
            return 1
        target = ROOT / "dist"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        for made in (wheel, *folder.glob("*.tar.gz")):
            shutil.copy(made, target)
            print(f"dist/{made.name}: {made.stat().st_size:,} bytes")
    print("dist: built from the sdist, installed bare, imported nothing optional, the README's example remembers.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Breaks each promise on purpose, in a copy of the tree, and expects its named test to fail.

A mutant is a patch `<promise>-<what>.patch` in this folder, as `git diff` writes it, below a header of two lines:

    Test: tests/runtime/test_gate.py::test_a_reply_waits_for_its_commit
    Breaks: the reply leaves before the batch is durable

`Test:` may stand several times: then each of the named tests must fail.
The named tests must pass in the copy before the patch, and fail by their own assertions after it: a patch that
does not apply, a test that is not found and a file that cannot be imported are errors of the mutant.

Run: python tests/mutants/run.py [NAME ...]    only the mutants whose file names contain one of the words

With SALON_EFFORT=short every fourth is tried, and of the others it is only asked whether they still apply.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Queue

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PACKAGE_ROOTS = ("actors", "persistence", "runtime")
PASSED, FAILED = 0, 1  # Exit statuses of pytest; all others mean that the tests were not run.
TEST_S_MAX = 120.0
SHORT_STEP = 4
AT_ONCE = 2
"""Mutants that are tried at the same time, each in a copy of its own."""


class MutantError(Exception):
    """The mutant is not one: says why."""


@dataclass(frozen=True, slots=True)
class Mutant:
    path: Path
    tests: tuple[str, ...]
    breaks: str

    @property
    def name(self) -> str:
        return self.path.stem


def read_mutant(path: Path) -> Mutant:
    header = path.read_text(encoding="utf-8").partition("\ndiff --git ")[0].splitlines()
    tests = tuple(line.removeprefix("Test:").strip() for line in header if line.startswith("Test:"))
    breaks = " ".join(line.removeprefix("Breaks:").strip() for line in header if line.startswith("Breaks:"))
    if not tests or not breaks:
        raise MutantError(f"{path.name} lacks a line `Test: …` or `Breaks: …` above its diff.")
    return Mutant(path, tests, breaks)


def copy_tree(root: Path, target: Path) -> None:
    """The files that git knows or would add, as they are now: what is not committed yet is tried too."""
    listed = git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (root / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, target / name)
    target.mkdir(parents=True, exist_ok=True)
    git(target, "init", "--quiet")


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise MutantError(f"git {words[0]}: {done.stderr.strip()}")
    return done.stdout


def run_tests(copy: Path, *tests: str, processes: int = 0) -> tuple[int, str]:
    """The status of pytest and what it said; the copy's packages are found before the installed ones."""
    paths = os.pathsep.join(str(copy / root) for root in PACKAGE_ROOTS)
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "", "-p", "no:cacheprovider", *tests]
    command += ["--numprocesses", str(processes)] if processes else []
    try:
        done = subprocess.run(
            command,
            cwd=copy,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TEST_S_MAX * len(tests),
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        raise MutantError(f"{' and '.join(tests)} did not end within {TEST_S_MAX:.0f} s each.") from None
    return done.returncode, done.stdout + done.stderr


def expect(copy: Path, test: str, status: int, when: str) -> None:
    found, said = run_tests(copy, test)
    if found != status:
        verdict = {PASSED: "passes", FAILED: "fails"}.get(found, f"was not run (status {found})")
        raise MutantError(f"{test} {verdict} {when} the patch:\n{last_lines(said)}")


def last_lines(said: str) -> str:
    return "\n".join(f"    {line}" for line in said.strip().splitlines()[-15:])


def pass_without(paths: Sequence[Path], copy: Path) -> bool:
    """Whether the tests of all mutants pass as the tree is; in one run, because starting one takes a second."""
    try:
        tests = {test for path in paths for test in read_mutant(path).tests}
        return run_tests(copy, *sorted(tests), processes=AT_ONCE)[0] == PASSED
    except MutantError:
        return False


def try_mutant(mutant: Mutant, copy: Path, *, is_sound: bool) -> None:
    """`is_sound`: its tests are known to pass without it."""
    for test in () if is_sound else mutant.tests:
        expect(copy, test, PASSED, "without")
    git(copy, "apply", "--whitespace=nowarn", str(mutant.path))
    try:
        for test in mutant.tests:
            expect(copy, test, FAILED, "with")
    finally:
        git(copy, "apply", "--whitespace=nowarn", "--reverse", str(mutant.path))


def try_one(path: Path, copies: Queue[Path], *, is_sound: bool) -> str | None:
    """In a copy that nobody else uses: what it broke; None when it was missed."""
    began = time.monotonic()
    copy = copies.get()
    broke: str | None = None
    try:
        mutant = read_mutant(path)
        try_mutant(mutant, copy, is_sound=is_sound)
        broke = mutant.breaks
        verdict = f"caught: {broke}"
    except MutantError as error:
        verdict = f"MISSED: {error}"
    finally:
        copies.put(copy)
    print(f"{path.stem} ({time.monotonic() - began:.1f} s) {verdict}", flush=True)
    return broke


def try_all(paths: Sequence[Path], root: Path) -> int:
    """The number of mutants that were not caught."""
    with tempfile.TemporaryDirectory(prefix="salon-mutants-") as folder:
        copies = Queue[Path]()
        for number in range(AT_ONCE):
            copy_tree(root, Path(folder, str(number)))
            copies.put(Path(folder, str(number)))
        print(f"Trying {len(paths)} mutants; first, their tests as they are.", flush=True)
        is_sound = pass_without(paths, Path(folder, "0"))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            tried = pool.map(partial(try_one, copies=copies, is_sound=is_sound), paths)
        return sum(broke is None for broke in tried)


def applies(path: Path, root: Path) -> bool:
    try:
        git(root, "apply", "--check", "--whitespace=nowarn", str(path))
    except MutantError:
        return False
    return True


def main(words: Sequence[str], folder: Path = HERE, root: Path = ROOT) -> int:
    paths = [path for path in sorted(folder.glob("*.patch")) if not words or any(word in path.stem for word in words)]
    if not paths:
        print(f"There is no mutant to try: no {folder.name}/*.patch with {' or '.join(words) or 'any name'}.")
        return 1
    stale = [path for path in paths if not applies(path, root)]
    for path in stale:
        print(f"{path.stem} MISSED: it does not apply any more: git apply {path}")
    tried = paths[::SHORT_STEP] if os.environ.get("SALON_EFFORT") == "short" else paths
    missed = try_all(tried, root)
    print(f"Mutants: {len(tried) - missed} of {len(tried)} caught, {len(paths)} there are.")
    return 1 if missed or stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

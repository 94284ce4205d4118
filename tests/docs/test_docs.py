"""The documents are true: their code runs, their links lead somewhere, and nothing public is missing from them."""

import ast
import json
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

import salon.errors
from salon import SalonError, Settings
from tests.docs.page import blocks_of

ROOT = Path(__file__).parent.parent.parent
RUNNER = Path(__file__).with_name("page.py")
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *DOCS]
WITH_CODE = [page for page in DOCS if "```python" in page.read_text(encoding="utf-8")]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SECOND_SENTENCE = re.compile(r"[a-z)`*][.?!] [A-Z`*\[]")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def page_id(page: Path) -> str:
    return page.name


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def anchors_of(page: Path) -> set[str]:
    """As the usual viewers make them: lower case, spaces to hyphens, the rest of the punctuation dropped."""
    headings = HEADING.findall(re.sub(r"^```.*?^```$", "", text_of(page), flags=re.MULTILINE | re.DOTALL))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", WITH_CODE, ids=page_id)
def test_every_block_of_a_page_runs_and_prints_what_the_page_says(page: Path, tmp_path: Path) -> None:
    blocks = blocks_of(text_of(page))

    command = [sys.executable, "-W", "error", str(RUNNER), str(page)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50)

    assert done.returncode == 0, done.stderr
    printed = dict(json.loads(done.stdout))
    shown = {
        code.line: block.text
        for code, block in pairwise(blocks)
        if code.language == "python" and block.language == "output"
    }
    assert shown == {line: printed[line] for line in shown}


def test_the_first_example_of_the_readme_is_the_program_that_is_run_as_an_example() -> None:
    program = text_of(ROOT / "examples" / "readme.py")
    docstring = ast.parse(program).body[0]
    first = next(block for block in blocks_of(text_of(ROOT / "README.md")) if block.language == "python")

    assert "".join(program.splitlines(keepends=True)[docstring.end_lineno :]).lstrip() == first.text


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    links = [link for link in LINK.findall(text_of(page)) if "://" not in link]

    for link in links:
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


def test_every_document_is_reached_from_the_readme() -> None:
    reached, waiting = set[Path](), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in reached and page.suffix == ".md":
            reached.add(page)
            waiting += [(page.parent / link.partition("#")[0]).resolve() for link in LINK.findall(text_of(page))]

    assert set() == {page.name for page in PAGES} - {page.name for page in reached}


def test_every_error_has_its_section_and_every_section_its_error() -> None:
    errors = {
        name for name, value in vars(salon.errors).items() if isinstance(value, type) and issubclass(value, SalonError)
    }
    sections = set(re.findall(r"^### `(\w+)`$", text_of(ROOT / "docs" / "errors.md"), re.MULTILINE))

    assert errors == sections


def test_every_error_says_truly_whether_asking_again_can_help() -> None:
    found = re.findall(r"^### `(\w+)`$(.*?)(?=^##|\Z)", text_of(ROOT / "docs" / "errors.md"), re.MULTILINE | re.DOTALL)

    assert found
    for name, section in found:
        assert ("Retryable: yes" in section) == getattr(salon.errors, name).retryable, name


def test_every_setting_stands_in_the_docs_with_its_default() -> None:
    first_table = text_of(ROOT / "docs" / "settings.md").partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", first_table, re.MULTILINE)

    assert {name: str(value) for name, value in Settings()} == dict(rows)


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_a_line_of_prose_holds_one_sentence(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", text_of(page), flags=re.MULTILINE | re.DOTALL)
    several = [line for line in prose.splitlines() if "|" not in line and SECOND_SENTENCE.search(line)]

    assert [] == several

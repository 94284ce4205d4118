"""The table of mutants in ARCHITECTURE.md, from the patches themselves.

Run: python -m tests.docs.mutants     writes the table anew
"""

from pathlib import Path

from tests.mutants.run import HERE, read_mutant

ARCHITECTURE = Path(__file__).parent.parent.parent / "ARCHITECTURE.md"
HEADING = "\n## Mutants\n"
EMPTY = "None yet."


def table() -> str:
    """A row for each patch, in the order of their names."""
    mutants = [read_mutant(path) for path in sorted(HERE.glob("*.patch"))]
    if not mutants:
        return EMPTY
    rows = [
        f"| `{mutant.name}` | {mutant.breaks} | {', '.join(f'`{test}`' for test in mutant.tests)} |"
        for mutant in mutants
    ]
    return "\n".join(("| Mutant | What it breaks | The test that must fail |", "| --- | --- | --- |", *rows))


def parts() -> tuple[str, str, str]:
    """ARCHITECTURE.md before the table, the table, and what follows it."""
    before, heading, after = ARCHITECTURE.read_text(encoding="utf-8").partition(HEADING)
    introduction, _, rest = after.partition("\n\n")
    found, next_heading, end = rest.partition("\n\n## ")
    return f"{before}{heading}{introduction}\n\n", found, f"{next_heading}{end}"


if __name__ == "__main__":
    front, _, end = parts()
    ARCHITECTURE.write_text(f"{front}{table()}{end}", encoding="utf-8")

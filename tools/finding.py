"""One thing that a lint has found, and where."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Rule: TypeAlias = Literal["clock", "chance", "environment", "files", "state"]


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    line: int
    rule: Rule
    sentence: str

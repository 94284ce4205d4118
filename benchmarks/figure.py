"""A figure: one measured quantity, what it is held against, and its target."""

from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on the ratio to the bare thing, or on the quantity itself."""

    sense: Literal["at least", "at most"]
    bound: float
    of: Literal["ratio", "value"]

    def is_met(self, found: float) -> bool:
        return found >= self.bound if self.sense == "at least" else found <= self.bound

    def __str__(self) -> str:
        sign = "≥" if self.sense == "at least" else "≤"
        return f"{sign} {self.bound:g}{' ×' if self.of == 'ratio' else ''}"


def ratio_at_least(bound: float) -> Target:
    return Target("at least", bound, "ratio")


def ratio_at_most(bound: float) -> Target:
    return Target("at most", bound, "ratio")


def at_least(bound: float) -> Target:
    return Target("at least", bound, "value")


def at_most(bound: float) -> Target:
    return Target("at most", bound, "value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """`value` is the median of its repeats, `low` and `high` are the extremes."""

    row: str
    backend: str
    case: str
    unit: str
    value: float | None
    """None: it was not run."""
    low: float | None
    high: float | None
    against: str = ""
    """Name of the bare thing, or of the peer."""
    bare: float | None = None
    """The same quantity of it."""
    ratio: float | None = None
    """How many times better than `against`, above 1 is better; for growth, how many times more."""
    target: Target | None = None
    note: str = ""

    @property
    def is_met(self) -> bool | None:
        """None when nothing is asked of it, or it was not run."""
        if self.target is None or self.value is None:
            return None
        found = self.value if self.target.of == "value" else self.ratio
        return found is not None and self.target.is_met(found)

    @property
    def key(self) -> str:
        return " / ".join((self.row, self.backend, self.case, self.unit, self.against))


def as_json(figure: Figure) -> dict[str, Any]:
    return {**asdict(figure), "met": figure.is_met}


def from_json(data: dict[str, Any]) -> Figure:
    fields = {name: value for name, value in data.items() if name != "met"}
    if fields["target"] is not None:
        fields["target"] = Target(**fields["target"])
    return Figure(**fields)

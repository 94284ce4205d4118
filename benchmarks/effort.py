"""How much a run does: enough to believe the figures, or just enough to see that it works."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Effort:
    repeats: int
    seconds: float
    """Of each cell that runs for a time."""
    share: float
    """Of the counts and sizes of a full run."""
    is_telling: bool
    """False: too little to hold anything against a target."""

    def count(self, full: int, least: int = 1) -> int:
        """So many of `full` as this effort allows."""
        return max(least, int(full * self.share))

    def at_most(self, repeats: int) -> "Effort":
        """For a cell that takes long."""
        return replace(self, repeats=min(self.repeats, repeats))


FULL = Effort(repeats=5, seconds=1.5, share=1.0, is_telling=True)
QUICK = Effort(repeats=1, seconds=0.05, share=0.01, is_telling=False)

"""What a row is given: how much to do, on which backends, where, and where to report."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.effort import Effort
from benchmarks.figure import Figure, Target
from benchmarks.meter import Spread
from benchmarks.report import Report


@dataclass(frozen=True, slots=True)
class Bench:
    row: str
    effort: Effort
    backends: Sequence[str]
    folder: Path
    """On the disk that is measured."""
    report: Report
    peers_python: str | None = None
    """An interpreter with the peers installed; None leaves them out."""

    def less_is_better(
        self,
        backend: str,
        case: str,
        unit: str,
        found: Spread,
        *,
        against: str = "",
        bare: Spread | None = None,
        target: Target | None = None,
        note: str = "",
    ) -> None:
        """A cost: the ratio is theirs to ours."""
        ratio = None if bare is None else bare.median / found.median
        self._say(backend, case, unit, found, against, bare, ratio, target, note)

    def more_is_better(
        self,
        backend: str,
        case: str,
        unit: str,
        found: Spread,
        *,
        against: str = "",
        bare: Spread | None = None,
        target: Target | None = None,
        note: str = "",
    ) -> None:
        """A rate: the ratio is ours to theirs."""
        ratio = None if bare is None else found.median / bare.median
        self._say(backend, case, unit, found, against, bare, ratio, target, note)

    def growth(
        self,
        backend: str,
        case: str,
        unit: str,
        late: Spread,
        early: Spread,
        *,
        target: Target | None = None,
        note: str = "",
    ) -> None:
        """How a cost grows: the ratio is late to early, and 1 is flat."""
        self._say(backend, case, unit, late, "itself, early", early, late.median / early.median, target, note)

    def not_run(self, backend: str, case: str, unit: str, against: str, target: Target, why: str) -> None:
        """Said in the table, so that nobody takes silence for success."""
        self._say(backend, case, unit, None, against, None, None, target, f"not run: {why}")

    def _say(
        self,
        backend: str,
        case: str,
        unit: str,
        found: Spread | None,
        against: str,
        bare: Spread | None,
        ratio: float | None,
        target: Target | None,
        note: str,
    ) -> None:
        self.report.figure(
            Figure(
                row=self.row,
                backend=backend,
                case=case,
                unit=unit,
                value=None if found is None else found.median,
                low=None if found is None else found.low,
                high=None if found is None else found.high,
                against=against,
                bare=None if bare is None else bare.median,
                ratio=ratio,
                target=target if self.effort.is_telling else None,
                note=note,
            )
        )

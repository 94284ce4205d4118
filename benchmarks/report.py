"""The report of a row: figures and progress, as lines of JSON that the parent process reads."""

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

from benchmarks.figure import Figure, as_json

T = TypeVar("T")


class Report(Protocol):
    def track(self, what: str, items: Sequence[T]) -> Iterator[T]:
        """The items, each shown as one step."""
        ...

    def figure(self, figure: Figure) -> None: ...


class Lines:
    """To standard output."""

    def track(self, what: str, items: Sequence[T]) -> Iterator[T]:
        for done, item in enumerate(items):
            self._say({"what": what, "done": done, "of": len(items)})
            yield item

    def figure(self, figure: Figure) -> None:
        self._say({"figure": as_json(figure)})

    def _say(self, line: object) -> None:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()

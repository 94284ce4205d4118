"""What one session may hold, in thirty lines: the elements that were seen, and those that may still come."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Fate = Literal["open", "kept", "dropped", "unknown"]


@dataclass
class Sent:
    element: str
    fate: Fate = "open"
    place: int | None = None


@dataclass
class Model:
    lines: list[str] = field(default_factory=list[str])
    coming: list[Sent] = field(default_factory=list[Sent])
    """In the order in which they were sent, which is the order in which they can take effect."""
    gone: list[Sent] = field(default_factory=list[Sent])
    """Can take effect no more."""

    def see(self, found: Sequence[str], is_over: bool) -> None:
        """Compare. `is_over`: everybody was answered, so that nothing more can come of what was sent."""
        assert found[: len(self.lines)] == self.lines, "lost or reordered"
        for place, element in enumerate(found[len(self.lines) :], len(self.lines)):
            while self.coming and self.coming[0].element != element:
                self.gone.append(self.coming.pop(0))
            assert self.coming, f"{element} at {place} is foreign, doubled or reordered"
            sent = self.coming.pop(0)
            assert sent.fate != "dropped", f"{element} is there, and its sender was told that it is not"
            assert sent.place in (None, place), f"{element} is at {place}, and its sender was told {sent.place}"
            self.lines.append(element)
        if is_over:
            self.gone += self.coming
            self.coming.clear()
        for sent in self.gone:
            assert sent.fate != "kept", f"{sent.element} was acknowledged and is not there"

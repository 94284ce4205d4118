"""Replay: the newest chunks of one attempt, bounded, for readers that come later or are slow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from pydantic import JsonValue, TypeAdapter

from salon_persistence import codec

_JSON: TypeAdapter[JsonValue] = TypeAdapter(JsonValue)
_SMALL_BYTES = 8


@dataclass(frozen=True, slots=True)
class ReplayBounds:
    """How much of a turn's chunks is kept for readers, per turn; the newest chunk is kept in any case."""

    events_max: int = 10_000
    bytes_max: int = 1_000_000

    def __post_init__(self) -> None:
        if self.events_max < 1 or self.bytes_max < 1:
            raise ValueError("The bounds of a replay are 1 or more.")


@dataclass(frozen=True, slots=True)
class Packed:
    """Data that could be changed: kept as bytes, so that each reader gets his own."""

    data: bytes


Kept: TypeAlias = str | int | float | Packed | None


def kept_form(data: JsonValue) -> Kept:
    """The data by value.

    Raises:
        ValueError: It is not what JSON can hold, or a text that has no bytes (lone surrogates).
    """
    if type(data) is str:
        if not data.isascii():
            data.encode()
        return data
    if data is None or type(data) is int or type(data) is float or type(data) is bool:
        return data
    return Packed(codec.pack(_JSON.validate_python(data)))


def own_form(kept: Kept) -> JsonValue:
    """The data for one reader."""
    if not isinstance(kept, Packed):
        return kept
    data: JsonValue = codec.unpack(kept.data)
    return data


def size_bytes(kept: Kept) -> int:
    if isinstance(kept, str):
        return len(kept) if kept.isascii() else len(kept.encode())
    return len(kept.data) if isinstance(kept, Packed) else _SMALL_BYTES


class Replay:
    """A list with a moving start, because a deque has no cheap middle.

    Invariant: what has left is a prefix, so that everything from `first` on is whole.
    """

    __slots__ = ("_bounds", "_gone", "_kept", "bytes", "first")

    def __init__(self, bounds: ReplayBounds) -> None:
        self._bounds = bounds
        self._kept: list[Kept] = []
        self._gone = 0
        """How many at the head of the list have left, and are None."""
        self.first = 1
        """Number of the oldest chunk that is kept, or of the one that comes next."""
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._kept) - self._gone

    @property
    def next(self) -> int:
        """Number of the chunk that comes next."""
        return self.first + len(self._kept) - self._gone

    def append(self, kept: Kept) -> None:
        """Takes what `kept_form` made; nothing leaves before `trim`."""
        self._kept.append(kept)
        self.bytes += size_bytes(kept)

    def trim(self, shown: int) -> None:
        """Lets the oldest go while there is too much; of what readers may see, up to `shown`, the newest stays."""
        while self.first < shown and (len(self) > self._bounds.events_max or self.bytes > self._bounds.bytes_max):
            self._drop_first()

    def _drop_first(self) -> None:
        self.bytes -= size_bytes(self._kept[self._gone])
        self._kept[self._gone] = None
        self._gone += 1
        self.first += 1
        if self._gone > 64 and self._gone * 2 > len(self._kept):
            del self._kept[: self._gone]
            self._gone = 0

    def kept(self, seq: int) -> Kept:
        """What `kept_form` had made of chunk `seq`, which is kept."""
        return self._kept[seq - self.first + self._gone]

    def since(self, seq: int) -> list[JsonValue]:
        """The data from chunk `seq` on, which is kept."""
        return [own_form(kept) for kept in self._kept[seq - self.first + self._gone :]]

    def forget(self) -> None:
        """Lets all of it go; numbers go on."""
        self.first = self.next
        self._kept.clear()
        self._gone = self.bytes = 0

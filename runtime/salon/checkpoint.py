"""The checkpoint: what of a running turn's draft outlives a cut. It is not a commit: `peek` does not see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from salon_persistence.journal import decode_turn, encode_turn
from salon_persistence.records import LogDelta, TurnRecord

if TYPE_CHECKING:
    from salon.draft import Changes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A draft's difference to the version that it began with."""

    version: int
    """Of the session, when the turn began."""
    schema_version: int
    state: Mapping[str, bytes]
    logs: Sequence[LogDelta]

    @classmethod
    def of(cls, version: int, schema_version: int, changes: Changes | None) -> Checkpoint:
        if changes is None:
            return cls(version, schema_version, {}, ())
        return cls(version, schema_version, dict(changes.changed), changes.logs)

    def encode(self, sid: int) -> bytes:
        """In the form of the turn that it may become."""
        record = TurnRecord(
            sid=sid, version=self.version + 1, schema_version=self.schema_version, state=self.state, logs=self.logs
        )
        return encode_turn(record, sid)

    @classmethod
    def decode(cls, data: bytes, sid: int, version: int) -> Checkpoint:
        """Raises CorruptRecord when it is damaged, or of a turn that began at another version."""
        record = decode_turn(data, sid, version + 1)
        return cls(version, record.schema_version, record.state, record.logs)

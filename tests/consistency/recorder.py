"""A store that keeps what passes through it, for tests that look at what is written."""

from collections.abc import Sequence

from salon.testing import FaultyStore
from salon_persistence.records import Record, TurnRecord
from salon_persistence.store import Outcome, Store


class Recorder(FaultyStore):
    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.records: list[TurnRecord] = []
        """All turns that were handed over, in their order."""

    async def commit(self, batch: Sequence[Record], /) -> Sequence[Outcome]:
        self.records += [record for record in batch if isinstance(record, TurnRecord)]
        return await super().commit(batch)

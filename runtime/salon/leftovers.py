"""Leftovers: messages whose end the store did not take. They are in the inbox still, and nobody was told of an end.

| The store | The message |
| --- | --- |
| refused the end of a turn | leaves the inbox as soon as that can be written; only then its callers hear NotApplied |
| refused the mark of one that was cut or cannot run | is marked again |
| cannot say | the session is read back: it is recorded, or still there, and then what runs no more has crashed |

The same holds for one whose handler runs past its deadline: it leaves the inbox first, then its callers are told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from salon import errors
from salon.closing import own_steps, rows_of
from salon_persistence.records import Mail, NoteRecord
from salon_persistence.store import Applied, Fenced, Outcome, Refused

if TYPE_CHECKING:
    from salon.activation import Residents
    from salon.held import Held
    from salon.marking import Marking
    from salon.mishap import Mishaps
    from salon.resident import Resident
    from salon.settings import Settings
    from salon.turn_envelope import TurnEnvelope
    from salon_actors import Clock, HostLoop, Promise
    from salon_persistence.bridge import Bridge


class Leftovers:
    """For all sessions of a runtime; tries until the store takes it, or the runtime closes."""

    def __init__(
        self,
        host: HostLoop,
        bridge: Bridge,
        residents: Residents,
        marking: Marking,
        mishaps: Mishaps,
        clock: Clock,
        settings: Settings,
    ) -> None:
        self._host = host
        self._bridge = bridge
        self._residents = residents
        self._marking = marking
        self._mishaps = mishaps
        self._sleep = clock.sleep
        self._probe_interval_s = settings.probe_interval_s
        self._ending: dict[TurnEnvelope, None] = {}
        """Those that will be told of their end when it is durable."""
        self._looking: set[Resident] = set()
        """Who is being read back."""

    def unsettled(self, held: Held, error: errors.SalonError, outcome: Outcome) -> None:
        """The store did not take the end of a message. `error` is what its callers get, if nothing better is known."""
        envelope, resident = held.envelope, held.resident
        if not rows_of(envelope):
            envelope.fail(error)
        elif isinstance(outcome, Refused) and held.mark is not None:
            self._marking.submit_again(resident, held.mark)  # before the session is released: it is next
        elif isinstance(outcome, Refused):
            self.end_later(resident, envelope, error)
        elif isinstance(outcome, Fenced) and outcome.whole_store:
            envelope.despair(error)  # it is another runtime's now
        else:
            envelope.fail(error)
            self.look_again(resident)

    def end_later(self, resident: Resident, envelope: TurnEnvelope, error: errors.SalonError) -> None:
        """A told message ends without a trace: its callers hear so once it is out of the inbox and cannot come back."""
        self._ending[envelope] = None
        self._host.spawn(self._settle, resident, envelope, error)

    def close(self, error: errors.SalonError) -> None:
        """Nothing more will be heard of them in this process: the next life finds them in the inbox."""
        for envelope in self._ending:
            envelope.despair(error)

    async def _settle(self, resident: Resident, envelope: TurnEnvelope, error: errors.SalonError) -> None:
        mail = Mail(inbox_settled=rows_of(envelope), steps_dropped=own_steps(envelope))
        while not isinstance(outcome := await self._noted(resident, mail), Applied):
            if isinstance(outcome, Fenced):
                return
            await self._sleep(self._probe_interval_s)
        self._ending.pop(envelope, None)
        envelope.fail(error)

    async def _noted(self, resident: Resident, mail: Mail) -> Outcome:
        promise: Promise[Outcome] = self._host.promise()
        note = NoteRecord(sid=resident.sid, generation=resident.generation, mail=mail)
        self._bridge.commit(note, promise.set_result)
        return await promise

    def look_again(self, resident: Resident) -> None:
        """Memory does not know what the store has of the session: read it back, and what is in its inbox.

        Until then it takes no other message: what comes back may have come before all that waits.
        """
        if resident not in self._looking:
            self._looking.add(resident)
            self._mishaps.hold(resident)
            self._host.spawn(self._look_again, resident)

    async def _look_again(self, resident: Resident) -> None:
        try:
            await self._read_back(resident)
        finally:
            self._looking.discard(resident)
            self._mishaps.let_go(resident)

    async def _read_back(self, resident: Resident) -> None:
        while resident.is_stale:
            try:
                await self._residents.reload(resident)
            except errors.StoreUnavailable as error:
                if not error.retryable:
                    return
                await self._sleep(self._probe_interval_s)
            except errors.SalonError:
                return

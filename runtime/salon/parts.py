"""The parts of one open Runtime, wired once, in the order in which a message meets them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from salon.activation import Residents
from salon.admission import Admission
from salon.asking import Asking
from salon.backoff import Backoff
from salon.creation import Creation
from salon.cutting import Cutting
from salon.dead_letters import DeadLetters, Doors
from salon.deliver import deliverers_by_name
from salon.door import Door
from salon.ended import Ended
from salon.frame import Tools
from salon.gate import Gate
from salon.grace import Grace
from salon.health import Health
from salon.identity import Principal
from salon.intake import Intake
from salon.joining import Joining
from salon.leftovers import Leftovers
from salon.limits import Limits
from salon.marking import Marking
from salon.merging import Merging
from salon.metrics import Counters
from salon.mishap import Mishaps
from salon.nesting import Nesting
from salon.notices import Notices
from salon.outbox import Bounds, Outbox
from salon.outreach import Outreach
from salon.progress import Progress
from salon.recall import Recall
from salon.resident import Resident
from salon.restoring import Restoring
from salon.session import Session
from salon.stalls import Stalls
from salon.steps import Steps
from salon.transfer import Transfers
from salon.turn_envelope import TurnEnvelope
from salon.turn_id import number_of
from salon.turns import Turns
from salon.waits import Waits
from salon.wall import Wall
from salon_actors import Scheduler
from salon_persistence.store import ByPublicId

if TYPE_CHECKING:
    from salon.chance import Chance
    from salon.machinery import Machinery
    from salon.settings import Settings
    from salon_actors import Clock, HostLoop
    from salon_persistence.bridge import Bridge
    from salon_persistence.records import StoredSession
    from salon_persistence.store import StoreInfo


class Parts:
    """Who knows whom. What needs each other is wired afterwards, and that is all that is late."""

    def __init__(
        self,
        machinery: Machinery,
        host: HostLoop,
        bridge: Bridge,
        store: StoreInfo,
        types: Mapping[str, type[Session[Any, Any]]],
        deps: Any,
        clock: Clock,
        chance: Chance,
        settings: Settings,
        ready: Any,
    ) -> None:
        numbers: Callable[[], int] = count(number_of(store.epoch, 1)).__next__
        self.counters = counters = Counters()
        self.stalls = Stalls(clock.monotonic, host.thread_name, counters, settings)
        self.wall = wall = Wall(clock, store.wall_high_us)
        self.health = Health(host, clock, bridge.probe, settings.probe_interval_s)
        self.residents = Residents(host, bridge, dict(types), clock, counters, settings)
        self.door = Door(self.residents)
        self.gate = Gate(bridge, host, clock, self.health, counters, settings)
        turns = Turns(self.residents, self.gate, clock, wall, counters, settings)
        self.scheduler: Scheduler[Resident, TurnEnvelope] = Scheduler(
            host,
            clock,
            turns,
            tick_s=settings.tick_s,
            stuck_after_s=settings.stuck_after_s,
            turns_max=settings.concurrent_turns_max,
            ready=ready,
            watchdog=self.stalls.watchdog,
        )
        scheduler = self.scheduler
        load = scheduler.load
        self.limits = Limits(
            settings,
            lambda: load.messages + self.merging.messages,
            lambda: load.size_bytes + self.merging.size_bytes,
        )
        self.ended = Ended(
            host,
            clock,
            age_s=settings.replay_age_s,
            tickets_max=settings.replay_ended_max,
            bytes_max=settings.replay_ended_bytes_max,
        )
        self.intake = Intake(
            host, scheduler, bridge, self.gate, self.residents, self.ended, clock, wall, counters, settings
        )
        notices = Notices(host, scheduler, self.intake, clock, settings)
        self.marking = Marking(host, scheduler, self.gate, self.residents, clock, wall, notices, settings)
        self.mishaps = Mishaps(host, scheduler, turns, self.marking, clock, chance, counters, settings)
        self.leftovers = Leftovers(host, bridge, self.residents, self.marking, self.mishaps, clock, settings)
        self.merging = Merging(host, scheduler, clock, self.intake, turns.expire)
        self.cutting = Cutting(host, scheduler)
        self.recall = Recall(self.residents, self.limits, clock, wall, settings)
        self.creation = Creation(
            host,
            bridge,
            self.gate,
            self.residents,
            clock,
            wall,
            chance,
            counters,
            settings,
            self.limits,
            store.sessions,
        )
        self.restoring = Restoring(
            host,
            scheduler,
            self.intake,
            self.marking,
            self.mishaps,
            self.merging,
            Steps(host, self.intake, clock, wall, settings),
            clock,
            chance,
            counters,
            store.epoch,
        )
        deliverers = {cls: deliverers_by_name(cls.salon_type.deliveries) for cls in types.values()}
        self.outbox = Outbox(
            bridge,
            host,
            clock,
            wall,
            chance,
            counters,
            deps,
            deliverers,
            Bounds(
                backoff=Backoff(settings.delivery_first_s, settings.delivery_max_s),
                attempts_max=settings.delivery_attempts_max,
                timeout_s=settings.delivery_timeout_s,
                concurrent_max=settings.delivery_concurrent_max,
            ),
        )
        self.transfers = Transfers(
            host,
            self.door,
            self.residents,
            self.creation,
            self.restoring,
            self.outbox,
            scheduler,
            self.limits,
            clock,
            types,
            numbers,
            counters,
        )
        self.admission = Admission(
            host,
            scheduler,
            bridge,
            self.health,
            clock,
            wall,
            self.limits,
            self.intake,
            self.mishaps,
            self.marking,
            self.merging,
            self.cutting,
            Joining(self.intake, self.recall, clock, counters, settings.turn_timeout_s),
            numbers,
            counters,
            settings,
        )
        progress = Progress(host, bridge, self.intake, self.cutting, clock, wall, settings)
        self.tools = Tools(
            deps=deps,
            monotonic=clock.monotonic,
            wall=wall,
            cutting=self.cutting,
            progress=progress,
            outreach=Outreach(machinery),
            grace=Grace(host, clock, settings.interrupt_grace_s),
            nesting=Nesting(host, scheduler, Waits()),
        )
        self.asking = Asking(
            scheduler, self.admission, self.cutting, self.marking, self.merging, self.mishaps, self.tools
        )
        self.dead_letters = DeadLetters(
            bridge,
            host,
            lambda: wall.now_us(clock.monotonic()),
            types,
            deliverers,
            Doors(
                find=self._found,
                number=numbers,
                accept=self.restoring.arrived,
                outbox=self.outbox,
                refusal=self.gate.refusal,
                look_again=self.leftovers.look_again,
            ),
            counters,
        )
        turns.wire(self.tools, self.intake, self.marking, self.mishaps)
        self.gate.wire(scheduler.release, self.leftovers.unsettled, self.transfers, self.limits, self.recall.forget)
        self.intake.mishaps, self.intake.leftovers = self.mishaps, self.leftovers
        self.residents.restored = partial(_restored, self.restoring, self.outbox)

    async def _found(self, public_id: str) -> Resident:
        return await self.door.enter(None, ByPublicId(public_id), Principal(trusted=True))


def _restored(restoring: Restoring, outbox: Outbox, resident: Resident, stored: StoredSession) -> None:
    """A session has come into memory, or was read back."""
    restoring.restore(resident, stored)
    if stored.outbox:
        outbox.take(resident, stored.outbox, restored=True)

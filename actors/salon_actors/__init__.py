"""The engine: mailboxes, the scheduler of turns, deadlines and the clock. It knows nothing of storage.

`Scheduler` runs the turns of `Actor`s; `Envelope`s carry messages to them; a `Behaviour` says what a turn does.
`HostLoop` is what it asks of the event loop that it is a guest of, `Clock` what it asks of the time.
"""

from salon_actors.actor import Actor as Actor
from salon_actors.actor import Phase as Phase
from salon_actors.behaviour import CLOSED as CLOSED
from salon_actors.behaviour import DEADLINE as DEADLINE
from salon_actors.behaviour import Behaviour as Behaviour
from salon_actors.behaviour import Cancelled as Cancelled
from salon_actors.behaviour import Ending as Ending
from salon_actors.behaviour import Raised as Raised
from salon_actors.behaviour import Returned as Returned
from salon_actors.clock import Clock as Clock
from salon_actors.clock import SystemClock as SystemClock
from salon_actors.envelope import HIGH as HIGH
from salon_actors.envelope import LOW as LOW
from salon_actors.envelope import NORMAL as NORMAL
from salon_actors.envelope import Envelope as Envelope
from salon_actors.errors import ActorError as ActorError
from salon_actors.errors import ForeignCancellation as ForeignCancellation
from salon_actors.errors import MailboxFull as MailboxFull
from salon_actors.errors import SchedulerClosed as SchedulerClosed
from salon_actors.hostloop import HostLoop as HostLoop
from salon_actors.hostloop import Timer as Timer
from salon_actors.hostloop import current_host_loop as current_host_loop
from salon_actors.park import Promise as Promise
from salon_actors.park import Reply as Reply
from salon_actors.ready import Ready as Ready
from salon_actors.scheduler import RunningTurn as RunningTurn
from salon_actors.scheduler import Scheduler as Scheduler
from salon_actors.watchdog import Watchdog as Watchdog

__all__ = [
    "CLOSED",
    "DEADLINE",
    "HIGH",
    "LOW",
    "NORMAL",
    "Actor",
    "ActorError",
    "Behaviour",
    "Cancelled",
    "Clock",
    "Ending",
    "Envelope",
    "ForeignCancellation",
    "HostLoop",
    "MailboxFull",
    "Phase",
    "Promise",
    "Raised",
    "Ready",
    "Reply",
    "Returned",
    "RunningTurn",
    "Scheduler",
    "SchedulerClosed",
    "SystemClock",
    "Timer",
    "Watchdog",
    "current_host_loop",
]

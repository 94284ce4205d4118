"""What tests of salon, and of the bots built on it, are made with; nothing here is for production.

`VirtualClock` stands still until a test advances it. `SeededChance` and `SeededReady` make chance repeat itself.
`FaultyStore` fails, stalls or dies where its `FaultPoint`s say.
A `History` is what clients did and saw; `check` says what of it must not be.
"""

from salon.testing.chance import SeededChance as SeededChance
from salon.testing.chance import SeededReady as SeededReady
from salon.testing.clock import VirtualClock as VirtualClock
from salon.testing.consistency import Kind as Kind
from salon.testing.consistency import Violation as Violation
from salon.testing.consistency import check as check
from salon.testing.faults import Calls as Calls
from salon.testing.faults import Effect as Effect
from salon.testing.faults import FaultPoint as FaultPoint
from salon.testing.faults import Verb as Verb
from salon.testing.faults import When as When
from salon.testing.history import Append as Append
from salon.testing.history import History as History
from salon.testing.history import Read as Read
from salon.testing.stillness import NeverStill as NeverStill
from salon.testing.store import FaultyStore as FaultyStore

__all__ = [
    "Append",
    "Calls",
    "Effect",
    "FaultPoint",
    "FaultyStore",
    "History",
    "Kind",
    "NeverStill",
    "Read",
    "SeededChance",
    "SeededReady",
    "Verb",
    "Violation",
    "VirtualClock",
    "When",
    "check",
]

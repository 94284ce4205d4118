"""What tests of salon, and of the bots built on it, are made with; nothing here is for production.

`VirtualClock` stands still until a test advances it. `SeededChance` and `SeededReady` make chance repeat itself.
"""

from salon.testing.chance import SeededChance as SeededChance
from salon.testing.chance import SeededReady as SeededReady
from salon.testing.clock import VirtualClock as VirtualClock
from salon.testing.stillness import NeverStill as NeverStill

__all__ = ["NeverStill", "SeededChance", "SeededReady", "VirtualClock"]

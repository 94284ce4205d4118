"""Programs by which the machine has found a bug once: they are played again, whatever Hypothesis thinks of."""

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack

import anyio
import pytest
from anyio.from_thread import start_blocking_portal

from salon.testing import FaultPoint
from tests.stateful.delivery_steps import End, PassTime, Resend, Send, Step
from tests.stateful.delivery_world import play

ASK = Send(0, "ask", takes_s=1, chunks=2, is_keyed=True)
LATE = Send(0, "stream", takes_s=3, chunks=1, is_hurried=True)
KILLED = End(True, (), 1)

FOUND: dict[str, Sequence[Step]] = {
    "a receipt knows what the read-back after an unknown commit has shown": (
        End(True, (FaultPoint("commit", 3, "after", "unknown"),), 3),
        Send(0, "tell"),
    ),
    "what an ask has shown is durable once it is told under its key": (ASK, Resend(0, "stream", True), KILLED),
    "who heard of a missed deadline hears nothing else after a kill": (LATE, KILLED),
    "a refused commit is told once its message cannot come back": (
        End(True, (FaultPoint("commit", 3, "instead", "refuse", times=3),), 1),
        Send(0, "tell"),
        KILLED,
    ),
    "merged messages have as much time as the one that has most": (
        Send(0, "tell", "quick", takes_s=3, is_hurried=True),
        Send(0, "tell", "quick"),
        Send(0, "tell", "quick"),
        PassTime(4.0),
    ),
}


@pytest.mark.blocks_loop("programs run in loops of their own")
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("steps", FOUND.values(), ids=FOUND)
def test_what_the_machine_has_found_stays_mended(
    steps: Sequence[Step], backend: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("CRITICAL", "salon")
    did = Counter[str]()
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal("asyncio")) if kind == "sqlite" else None
        anyio.run(play, steps, portal, did, backend=backend)

    assert did["began"] > 0
    assert did["accepted"] > 0

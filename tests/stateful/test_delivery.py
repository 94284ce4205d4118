"""Whatever Hypothesis thinks of, each message meets one fate, and every kind of step has been taken."""

import logging
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import anyio
import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, Phase, given, settings

from tests.effort import effort
from tests.stateful.delivery_plants import PLANTS
from tests.stateful.delivery_steps import PROGRAMS, Step
from tests.stateful.delivery_world import play

SENT = ("ask", "tell", "stream", "sent plain", "sent again", "sent aside", "sent quick", "sent keyed", "sent high",
        "sent low", "sent queue", "sent reject", "sent interrupt", "sent rollback", "sent refused", "sent raised",
        "sent raised once", "resent", "resent with other content")  # fmt: skip
DONE = ("caller cancelled", "reader left", "attached", "stopped", "stopped a turn", "time passed", "settled",
        "released", "restarted", "killed", "died by plan")  # fmt: skip
HEARD = ("accepted", "began", "done", "Refused", "TurnFailed", "TurnTimeout", "TurnStopped", "TurnInterrupted",
         "TurnSuperseded", "SessionBusy", "IdempotencyConflict", "NotApplied", "OutcomeUnknown", "StoreUnavailable",
         "Draining", "gap")  # fmt: skip
"""`gap`: a reader came back to chunks that are not kept any more, and was told so."""


@pytest.fixture(autouse=True)
def unheard(caplog: pytest.LogCaptureFixture) -> None:
    """Killed runtimes complain."""
    caplog.set_level(logging.CRITICAL, "salon")


def run(backend: str, kind: str, examples: int, phases: Sequence[Phase] = tuple(Phase)) -> Counter[str]:
    """What was done and answered, over all programs."""
    did = Counter[str]()
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal("asyncio")) if kind == "sqlite" else None

        @settings(
            max_examples=examples,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
            derandomize=True,
            database=None,
            report_multiple_bugs=False,
            phases=phases,
        )
        @given(steps=PROGRAMS)
        def check(steps: Sequence[Step]) -> None:
            anyio.run(play, steps, portal, did, backend=backend)

        check()
    return did


def report(backend: str, kind: str, did: Counter[str]) -> None:
    """How often each thing was done and heard; `pytest -s` shows it."""
    sys.stdout.write(f"\n{backend}, {kind}: {', '.join(f'{name} {did[name]}' for name in (*SENT, *DONE, *HEARD))}\n")


@pytest.mark.blocks_loop("programs run in loops of their own")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_each_message_meets_one_fate(backend: str, kind: str) -> None:
    did = run(backend, kind, 100 if kind == "memory" else 25)
    report(backend, kind, did)

    assert [] == [name for name in ("done", "accepted", "killed", "restarted", *SENT) if not did[name]], did


@pytest.mark.blocks_loop("programs run in loops of their own")
@pytest.mark.timeout(120)
@pytest.mark.parametrize(("plant", "found_as"), PLANTS)
def test_the_machine_finds_a_bug_that_was_planted_in_delivery(
    plant: Callable[[pytest.MonkeyPatch], None], found_as: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    with pytest.raises(AssertionError, match=found_as):
        run("asyncio", "memory", 300, phases=(Phase.generate,))


@pytest.mark.slow
@pytest.mark.blocks_loop("programs run in loops of their own")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_each_message_meets_one_fate_many_times_over(backend: str, kind: str) -> None:
    did = run(backend, kind, effort(200, 4000 if kind == "memory" else 1000))
    report(backend, kind, did)

    assert [] == [name for name in (*SENT, *DONE, *HEARD) if not did[name]], did

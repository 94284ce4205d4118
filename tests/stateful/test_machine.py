"""Whatever Hypothesis thinks of, a runtime does what the model says, and every kind of step has been taken."""

from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.effort import effort
from tests.simulation.plants import (
    no_rollback,
    reply_before_commit,
    two_incarnations,
    unknown_called_not_applied,
    unknown_not_read_back,
)
from tests.stateful.machine import KINDS, Conversations

STEPS = ("opened", *KINDS, "caller cancelled", "waited", "released", "settled", "restarted", "died")
ANSWERS = ("kept", "Refused", "TurnFailed", "TurnTimeout", "NotApplied", "OutcomeUnknown", "Fenced", "StoreUnavailable")


def run(backend: str, examples: int, phases: Sequence[Phase] = tuple(Phase)) -> Counter[str]:
    """What was done and answered, over all examples."""

    class Machine(Conversations):
        pass

    Machine.backend, Machine.did = backend, Counter()
    some = settings(
        max_examples=examples,
        stateful_step_count=20,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
        derandomize=True,
        database=None,
        phases=phases,
    )
    run_state_machine_as_test(Machine, settings=some)
    return Machine.did


@pytest.mark.blocks_loop("time stands still there")
@pytest.mark.timeout(120)
def test_a_runtime_does_what_thirty_lines_say(backend: str) -> None:
    did = run(backend, 150)

    assert [] == [name for name in (*STEPS, *ANSWERS) if not did[name]], did


@pytest.mark.blocks_loop("time stands still there")
@pytest.mark.parametrize(
    ("plant", "found_as"),
    [
        (no_rollback, "its sender was told that it is not"),
        (reply_before_commit, "was acknowledged and is not there"),
        (unknown_called_not_applied, "its sender was told that it is not"),
        (unknown_not_read_back, "foreign, doubled or reordered"),
        (two_incarnations, "two turns of one session ran at once"),
    ],
)
def test_the_machine_finds_a_planted_bug(
    plant: Callable[[pytest.MonkeyPatch], None], found_as: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    with pytest.raises(AssertionError, match=found_as):
        run(backend, 150, phases=(Phase.generate,))


@pytest.mark.slow
@pytest.mark.blocks_loop("time stands still there")
@pytest.mark.timeout(1800)
def test_a_runtime_does_what_thirty_lines_say_many_times_over(backend: str) -> None:
    did = run(backend, effort(200, 3000))

    assert [] == [name for name in (*STEPS, *ANSWERS) if not did[name]], did

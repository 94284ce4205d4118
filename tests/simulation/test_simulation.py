"""The whole runtime in simulated time, from a seed: every workload with every fault, and bugs that must be found."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.effort import effort
from tests.simulation.faults import FAULTS, Fault
from tests.simulation.plants import PLANTS, Plant
from tests.simulation.workloads import WORKLOADS, Workload
from tests.simulation.world import Run, named, play

ROOT = Path(__file__).parents[2]
PAIRS = [
    pytest.param(workload, fault, id=f"{workload.name} x {fault.name}") for workload in WORKLOADS for fault in FAULTS
]
SEEDS_PER_PLANT = 10

pytestmark = pytest.mark.blocks_loop("simulated time passes however long a step takes")


def runs(workload: Workload, fault: Fault, backend: str, seeds: range) -> Iterator[Run]:
    for seed in seeds:
        run = play(workload, fault, seed, backend)

        assert run.problems() == [], f"Play it again: {run.replay}"
        yield run


def check_runs(workload: Workload, fault: Fault, backend: str, seeds: range) -> None:
    played = list(runs(workload, fault, backend, seeds))
    if fault.must_fire:
        assert sum(run.fired for run in played) > 0
    if workload.name == "long_conversation" and fault.name == "none":
        assert min(run.snapshots for run in played) >= workload.sessions
    if workload.left:
        assert sum(run.left for run in played) > 0


@pytest.mark.parametrize(("workload", "fault"), PAIRS)
def test_whatever_the_fault_nothing_is_lost_doubled_or_foreign(workload: Workload, fault: Fault, backend: str) -> None:
    check_runs(workload, fault, backend, range(1))


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("workload", "fault"), PAIRS)
def test_from_many_seeds_nothing_is_lost_doubled_or_foreign(workload: Workload, fault: Fault, backend: str) -> None:
    check_runs(workload, fault, backend, range(100, 100 + effort(3, 40)))


@pytest.mark.parametrize("fault", ["store_stalls", "process_dies"])
def test_a_seed_plays_the_same_run_again_in_another_process(fault: str, backend: str) -> None:
    run = play(*named("impatient_callers", fault), 5, backend)
    command = [sys.executable, *run.replay.split()[1:]]
    environment = {**os.environ, "PYTHONHASHSEED": "2"}  # Objects have other hashes there, and other addresses.
    said = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout

    assert str(run.fingerprint) == said.splitlines()[0]


def test_another_seed_plays_another_run(backend: str) -> None:
    workload, fault = named("chat_steady", "store_refuses")

    assert 3 == len({play(workload, fault, seed, backend).fingerprint for seed in range(3)})


@pytest.mark.parametrize("plant", [pytest.param(plant, id=plant.name) for plant in PLANTS])
def test_a_planted_bug_is_found(plant: Plant, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    workload, fault = named(plant.workload, plant.fault)
    plant.plant(monkeypatch)
    for seed in range(SEEDS_PER_PLANT):
        problems = play(workload, fault, seed, backend).problems()
        if any(plant.found_as in problem for problem in problems):
            return
    pytest.fail(f"{SEEDS_PER_PLANT} runs did not find it.")

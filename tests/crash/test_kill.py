"""SIGKILL at any instant: whatever was acknowledged is there, once, in its session and in its place."""

import sys
from pathlib import Path

import pytest

from salon.testing import SeededChance
from tests.crash.killer import Killer
from tests.effort import effort


def kill(folder: Path, rounds: int, seed: int) -> Killer:
    killer = Killer(folder / "chat.db", SeededChance(seed))
    for number in range(rounds):
        killer.round()

        assert killer.problems == [], f"round {number} of seed {seed}"
    return killer


def check_progress(killer: Killer) -> None:
    """The kills came in the middle of work of every kind."""
    loaded = [life for life in killer.lives if life.acknowledged]
    caught_working = sum(count > 0 for count in killer.in_flight)
    stored = killer.stored()
    longest = max(len(known.elements) for known in killer.sessions.values())
    sys.stdout.write(
        f"{len(killer.lives)} kills: {sum(life.acknowledged for life in loaded)} turns acknowledged, "
        f"{sum(life.not_applied for life in loaded)} rolled back, in flight {killer.in_flight}, "
        f"longest session {longest}, rows {stored}\n"
    )

    assert len(loaded) >= 0.85 * len(killer.lives)
    assert caught_working >= 0.85 * len(killer.lives)
    assert sum(life.acknowledged for life in loaded) >= 20 * len(killer.lives)
    assert sum(life.not_applied for life in loaded) >= len(killer.lives)
    assert longest >= 300
    assert stored["snapshot"] > 0
    assert stored["page"] >= longest // 64
    assert stored["left"] < longest, "the journal was never freed"
    assert len(killer.sessions) > 24


@pytest.mark.timeout(240)
def test_twenty_kills_lose_double_and_misplace_nothing(tmp_path: Path) -> None:
    check_progress(kill(tmp_path, 20, seed=20))


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_two_hundred_kills_lose_double_and_misplace_nothing(tmp_path: Path) -> None:
    check_progress(kill(tmp_path, effort(20, 200), seed=200))


@pytest.mark.timeout(240)
def test_a_kill_finds_out_replies_that_left_before_their_commit(tmp_path: Path) -> None:
    """The same kills must find what they are for: durability `memory` answers before it writes, and says so."""
    killer = Killer(tmp_path / "chat.db", SeededChance(7), durabilities=("memory",))
    while not killer.problems and len(killer.lives) < 9:
        killer.round()

    assert [problem for problem in killer.problems if problem.startswith("lost in session")]

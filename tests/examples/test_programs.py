"""The example programs run as a reader would run them; the demo with a few conversations and a quick model."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.effort import effort

ROOT = Path(__file__).parent.parent.parent
SMALL = ("--limit", "16", "--at-once", "8", "--think", "0.03")


def run(*words: str, cwd: Path = ROOT, typed: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "80", "PYTHONWARNINGS": "error"}
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=cwd, env=environment, input=typed, capture_output=True, text=True, timeout=50)


def figure(said: str, name: str) -> int:
    found = re.search(rf"│ {name}\W+(\d+)", said)
    assert found, said
    return int(found[1])


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_demo_kills_with_turns_in_flight_and_loses_nothing(backend: str) -> None:
    done = run("-m", "examples.demo", *SMALL, "--backend", backend)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert figure(done.stdout, "in flight at the kill") > 0
    assert figure(done.stdout, "conversations") == 16
    assert figure(done.stdout, "turns") > 60
    assert [figure(done.stdout, name) for name in ("lost", "doubled", "foreign")] == [0, 0, 0]


@pytest.mark.parametrize("plant", ["lost", "doubled", "foreign"])
def test_a_planted_fault_is_found_and_gives_status_1(plant: str) -> None:
    done = run("-m", "examples.demo", *SMALL, "--plant", plant)

    assert done.returncode == 1, done.stdout + done.stderr
    assert figure(done.stdout, plant) > 0
    assert [figure(done.stdout, other) for other in {"lost", "doubled", "foreign"} - {plant}] == [0, 0]


def test_a_demo_that_cannot_be_played_gives_status_2(tmp_path: Path) -> None:
    done = run("-m", "examples.demo", "--dialogues", str(tmp_path / "none.jsonl"))

    assert done.returncode == 2
    assert "could not be played" in done.stderr


WEBHOOK = ("-m", "examples.webhook", "--limit", "10", "--think", "0.03")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_every_update_of_a_killed_webhook_has_one_effect_and_one_answer(backend: str) -> None:
    done = run(*WEBHOOK, "--backend", backend)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    updates = figure(done.stdout, "updates")
    assert updates > 40
    assert figure(done.stdout, "webhook requests") >= 2 * updates
    assert figure(done.stdout, "waiting at the kill") > 0
    assert figure(done.stdout, "calls that it failed") > 0
    assert [figure(done.stdout, name) for name in ("effects", "answers")] == [updates, updates]


@pytest.mark.parametrize(
    ("without", "damage"),
    [("key", ["doubled", "answered twice"]), ("inbox", ["lost", "unanswered"]), ("outbox", ["lost", "untrue"])],
)
def test_a_webhook_without_its_key_or_inbox_or_outbox_is_found_out(without: str, damage: list[str]) -> None:
    done = run(*WEBHOOK, "--without", without)

    assert done.returncode == 1, done.stdout + done.stderr
    assert all(figure(done.stdout, name) > 0 for name in damage)


STREAMING = ("-m", "examples.streaming", "--limit", "6", "--token", "0.01")
STREAMED = ["tokens missing", "tokens repeated", "screens that differ", "transcripts that differ", "other outcomes"]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_phone_that_loses_its_connection_shows_what_is_kept_and_no_more(backend: str) -> None:
    done = run(*STREAMING, "--backend", backend)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert [figure(done.stdout, name) for name in STREAMED] == [0, 0, 0, 0, 0]
    assert figure(done.stdout, "answers") == figure(done.stdout, "times the model was asked") > 20
    assert figure(done.stdout, "connections lost") > 15
    assert figure(done.stdout, "answers stopped") > 4


def test_a_phone_that_comes_back_without_its_cursor_is_found_out() -> None:
    done = run(*STREAMING, "--without", "cursor")

    assert done.returncode == 1, done.stdout + done.stderr
    assert figure(done.stdout, "tokens repeated") > 15


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("kill_at", ["0.5", "0", "0.1", "0.9"][: effort(1, 4)])
def test_every_update_of_the_whole_webhook_is_counted_once_wherever_the_kill_falls(kill_at: str) -> None:
    done = run("-m", "examples.webhook", "--think", "0.05", "--kill-at", kill_at)

    assert done.returncode == 0, done.stdout + done.stderr
    assert figure(done.stdout, "waiting at the kill") > 0


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("kill_at", ["0.5", "0", "0.1", "0.9"][: effort(1, 4)])
def test_the_whole_demo_loses_nothing_wherever_the_kill_falls(kill_at: str) -> None:
    done = run("-m", "examples.demo", "--think", "0.05", "--kill-at", kill_at)

    assert done.returncode == 0, done.stdout + done.stderr
    assert figure(done.stdout, "in flight at the kill") > 0


def test_the_chat_remembers_when_one_comes_back(tmp_path: Path) -> None:
    words = ("-m", "examples.chat", "--store", str(tmp_path / "chat.db"))
    first = run(*words, typed="I am Ines.\nJe préfère le thé.\n")
    second = run(*words, typed="Who am I?\n")

    assert "I'll remember you, Ines." in first.stdout, first.stderr
    assert "you have told me 2 things" in second.stdout, second.stderr
    assert "Je préfère le thé." in second.stdout
    assert "You are Ines." in second.stdout


def test_the_example_of_the_readme_runs(tmp_path: Path) -> None:
    done = run(str(ROOT / "examples" / "readme.py"), cwd=tmp_path)

    assert done.stdout == "I have read 3 lines.\n", done.stderr

"""Settings: safe defaults, told when they are out of bounds."""

import os

import pytest
from pydantic import ValidationError

from salon import ConfigurationError, Settings


def test_the_environment_is_read_only_when_it_is_given() -> None:
    settings = Settings.from_env({"SALON_TURN_TIMEOUT_S": "17.5", "SALON_DURABILITY": "normal", "HOME": "/"})

    assert (settings.turn_timeout_s, settings.durability, settings.tick_s) == (17.5, "normal", 0.05)


def test_an_unknown_name_of_ours_is_told() -> None:
    with pytest.raises(ConfigurationError, match=r"^No such setting: SALON_TURN_TIMEOUT\.$"):
        Settings.from_env({"SALON_TURN_TIMEOUT": "1"})


def test_a_value_out_of_bounds_is_told_with_its_name() -> None:
    with pytest.raises(ConfigurationError, match="SALON_TICK_S"):
        Settings.from_env({"SALON_TICK_S": "-1"})
    with pytest.raises(ValidationError):
        Settings(mailbox_messages_max=0)
    with pytest.raises(ValidationError):
        Settings.model_validate({"no_such_setting": 1})


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Settings().tick_s = 1  # pyright: ignore


def test_constructing_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "SALON_TURN_TIMEOUT_S", "1")

    assert Settings().turn_timeout_s == 300

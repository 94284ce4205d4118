"""Fixtures of the engine's tests."""

import logging
from typing import cast

import pytest

from salon_actors import asyncio_host, trio_host


@pytest.fixture(params=["sees", "blind"])
def sight(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With the private attributes that show the innermost cancel scope, and without them."""
    if request.param == "blind":
        monkeypatch.setattr(asyncio_host, "TASK_STATES", "_gone")
        monkeypatch.setattr(trio_host, "CANCEL_STATUS", "_gone")
    return cast(str, request.param)


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Leave what is said about careless handlers out of the report."""
    caplog.set_level(logging.ERROR, "salon_actors")
    caplog.set_level(logging.CRITICAL, "trio.async_generator_errors")

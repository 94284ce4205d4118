"""The system's clock; what the tests play on elsewhere is a clock of their own."""

from datetime import UTC, datetime, timedelta

import anyio

from salon_actors import SystemClock


async def test_the_system_clock_tells_aware_utc_and_sleeps() -> None:
    clock = SystemClock()
    before = clock.monotonic()
    await clock.sleep(0.002)
    await clock.sleep(-1)

    assert 0.0015 <= clock.monotonic() - before < 5
    assert timedelta(0) == clock.wall().utcoffset()
    assert abs(datetime.now(UTC) - clock.wall()) < timedelta(seconds=5)


async def test_a_sleep_can_be_cancelled() -> None:
    with anyio.move_on_after(0) as scope:
        await SystemClock().sleep(3600)

    assert scope.cancelled_caught

"""Grace opens by itself, and many of them take no task each."""

import anyio

from salon.grace import Grace
from salon.testing import VirtualClock
from salon_actors import current_host_loop


async def test_a_thousand_graces_open_in_time_and_are_few_tasks() -> None:
    host, clock = current_host_loop(), VirtualClock()
    try:
        grace = Grace(host, clock, 2)
        scopes = [grace.scope() for _ in range(1000)]
        await clock.advance(1)
        later = grace.scope()

        assert 1 == clock.sleeping
        assert all(scope.shield for scope in (*scopes, later))
        await clock.advance(1)
        assert not any(scope.shield for scope in scopes)
        assert later.shield
        await clock.advance(1)
        assert (False, 0) == (later.shield, clock.sleeping)
    finally:
        with anyio.CancelScope(shield=True):
            await host.close()

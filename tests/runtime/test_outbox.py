"""What was posted leaves, in order per session, at least once, beside the turns; what cannot is a dead letter."""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import anyio
import anyio.lowlevel
import pytest

from salon import ConfigurationError, Refused, Session, current_turn
from salon.backoff import Backoff
from salon.deliver import deliver, deliverers_by_name, deliveries_of
from salon.info import microseconds
from salon.metrics import Counters
from salon.outbox import EXHAUSTED, REFUSED, TOO_NEW, UNDECODABLE, UNKNOWN_KIND, Bounds, Outbox
from salon.outgoing import Outgoing
from salon.resident import Resident
from salon.testing import SeededChance, VirtualClock
from salon.wall import Wall
from salon_actors import HostLoop, current_host_loop
from salon_persistence.bridge import Bridge
from salon_persistence.errors import RecordRefused, StoreFailed, StoreUnavailable
from salon_persistence.records import OutboxRow
from salon_persistence.store import Fenced, Unknown
from salon_persistence.store import Refused as StoreRefused
from tests.runtime.paper import PaperBridge

BACKOFF = Backoff(first_s=1, max_s=8)


class Text(Outgoing, name="text", former_names=("message",)):
    text: str


class Strict(Outgoing, name="strict"):
    number: int


@dataclass
class Bot:
    """What deliveries reach: it remembers what came, and does what the test says before it takes anything."""

    came: list[str] = field(default_factory=list[str])
    keys: list[str] = field(default_factory=list[str])
    tries: list[str] = field(default_factory=list[str])
    at_once: int = 0
    most_at_once: int = 0
    before: Callable[[str], Awaitable[None]] = field(default=lambda text: anyio.lowlevel.checkpoint())

    async def send(self, key: str, text: str) -> None:
        self.tries.append(text)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.before(text)
        finally:
            self.at_once -= 1
        self.keys.append(key)
        self.came.append(text)


class Chat(Session, name="chat"):
    @deliver
    async def send(self, out: Text) -> None:
        frame = cast(Any, self)._salon_frame
        await cast(Any, self.deps).send(frame.delivery.key, out.text)

    @deliver
    async def count(self, out: Strict) -> None:
        await cast(Any, self.deps).send("strict", str(out.number))


DELIVERERS = {Chat: deliverers_by_name(deliveries_of(Chat, {}))}


def row(number: int, text: str = "", **changes: Any) -> OutboxRow:
    deliverer = DELIVERERS[Chat]["text"]
    made = deliverer.row(Text(text=text or str(number)), number, f"key-{number}")
    return replace(made, **changes)


@dataclass
class Post:
    """An outbox over a store on paper, on a clock that the test moves."""

    host: HostLoop
    clock: VirtualClock
    bridge: PaperBridge
    outbox: Outbox
    counters: Counters
    bot: Bot
    is_killed: bool = False
    """It ends without a word."""

    def someone(self, sid: int = 1) -> Resident:
        made = SimpleNamespace(sid=sid, cls=Chat, generation=3, image=SimpleNamespace(version=7), info=lambda: "info")
        return cast(Resident, made)

    def post(self, *rows: OutboxRow, sid: int = 1) -> Resident:
        """As if a turn of the session had committed them."""
        resident = self.someone(sid)
        self.bridge.rows.update({row.number: (sid, row) for row in rows})
        self.outbox.take(resident, rows)
        return resident

    async def settle(self, seconds: float = 0) -> None:
        await self.clock.advance(seconds)


@asynccontextmanager
async def posting(bot: Bot | None = None, bridge: PaperBridge | None = None, **bounds: Any) -> AsyncGenerator[Post]:
    host, clock, counters = current_host_loop(), VirtualClock(), Counters()
    bridge, bot = bridge or PaperBridge(host), bot or Bot()
    bounded = replace(Bounds(BACKOFF, attempts_max=4, timeout_s=30, concurrent_max=64), **bounds)
    outbox = Outbox(
        cast(Bridge, bridge), host, clock, Wall(clock, 0), SeededChance(1), counters, bot, DELIVERERS, bounded
    )
    try:
        post = Post(host, clock, bridge, outbox, counters, bot)
        yield post
        with anyio.move_on_after(5) as hurry:
            if not post.is_killed:
                await outbox.close()
        assert not hurry.cancelled_caught, "the outbox does not close"
    finally:
        with anyio.CancelScope(shield=True):
            await host.close()


def failing(times: int, only: str | None = None) -> Callable[[str], Awaitable[None]]:
    left = times

    async def before(text: str) -> None:
        nonlocal left
        await anyio.lowlevel.checkpoint()
        if left and only in (None, text):
            left -= 1
            raise ConnectionError("the words of a stranger")

    return before


async def test_what_was_posted_leaves_in_order_and_is_settled() -> None:
    async with posting() as post:
        resident = post.post(row(1), row(2), row(3))
        post.post(row(4))
        assert not post.outbox.is_idle(resident)
        await post.settle()

        assert post.bot.came == ["1", "2", "3", "4"]
        assert post.bot.keys == ["key-1", "key-2", "key-3", "key-4"]
        assert post.bridge.rows == {}
        assert post.outbox.is_idle(resident)
        assert post.counters.delivered == 4


async def test_one_session_delivers_one_thing_at_a_time_and_many_sessions_at_once() -> None:
    gate = anyio.Event()

    async def before(text: str) -> None:
        await gate.wait()

    async with posting(Bot(before=before), concurrent_max=3) as post:
        for sid in range(1, 6):
            post.post(row(10 * sid), row(10 * sid + 1), sid=sid)
        await post.settle()
        assert sorted(post.bot.tries) == ["10", "20", "30"]
        gate.set()
        await post.settle()

        assert post.bot.most_at_once == 3
        assert len(post.bot.came) == 10
        assert all(post.bot.came.index(str(10 * sid)) < post.bot.came.index(str(10 * sid + 1)) for sid in range(1, 6))


async def test_a_failure_is_tried_again_and_what_follows_waits_behind_it() -> None:
    async with posting(Bot(before=failing(2, "1"))) as post:
        post.post(row(1), row(2))
        post.post(row(3), sid=2)
        await post.settle()
        assert sorted(post.bot.tries) == ["1", "3"], "another session does not wait"
        assert post.bridge.rows[1][1].attempts == 1
        for _ in range(10):
            await post.settle(1)

        assert post.bot.tries[2:] == ["1", "1", "2"]
        assert post.bot.came == ["3", "1", "2"]
        assert post.counters.delivery_failures == 2
        assert post.bridge.rows == {}


async def test_the_waits_grow_and_their_times_are_durable() -> None:
    async with posting(Bot(before=failing(99)), attempts_max=6) as post:
        began = post.clock.monotonic()
        post.post(row(1))
        tries, waits = 0, list[float]()
        while len(waits) < 5:
            await post.settle(0.01)
            if len(post.bot.tries) > tries:
                tries = len(post.bot.tries)
                stored = post.bridge.rows[1][1]
                assert stored.attempts == tries
                assert stored.due_us is not None
                waits.append((stored.due_us - microseconds(post.clock.wall())) / 1e6)

        assert all(0 <= wait + 0.01 <= BACKOFF.ceiling_s(n) + 0.01 for n, wait in enumerate(waits, 1))
        assert len(set(waits)) == 5, "chance spreads them"
        assert post.clock.monotonic() > began


async def test_what_fails_too_often_is_a_dead_letter_and_the_next_one_leaves() -> None:
    async with posting(Bot(before=failing(4, "1"))) as post:
        post.post(row(1), row(2))
        for _ in range(20):
            await post.settle(1)

        (letter,) = post.bridge.letters
        assert (letter.kind, letter.reason, letter.cause) == ("outgoing", EXHAUSTED, "ConnectionError")
        assert (letter.message, letter.body, letter.key) == ("text", row(1).body, "key-1")
        assert (letter.attempts, letter.state_version) == (4, 7)
        assert post.bot.tries == ["1"] * 4 + ["2"]
        assert post.bot.came == ["2"]
        assert post.bridge.rows == {}
        assert post.counters.outgoing_dead_lettered == 1


async def test_the_dead_letter_and_the_end_of_its_row_are_one_note_and_the_next_waits_for_it() -> None:
    async with posting(Bot(before=failing(1, "1")), attempts_max=1) as post:
        post.bridge.is_slow = True
        post.post(row(1), row(2))
        await post.settle(60)
        assert post.bot.tries == ["1"]
        (note,) = post.bridge.notes
        assert (note.sid, note.generation) == (1, 3)
        assert list(note.mail.outbox_settled) == [1]
        assert [letter.id for letter in note.mail.dead_letters] == ["out-1"]
        post.bridge.is_slow = False
        post.bridge.write()
        await post.settle()

        assert post.bot.came == ["2"]


async def test_a_refusal_is_a_dead_letter_at_once() -> None:
    async def before(text: str) -> None:
        raise Refused("blocked")

    async with posting(Bot(before=before)) as post:
        post.post(row(1))
        await post.settle(60)

        assert post.bot.tries == ["1"]
        assert [(letter.reason, letter.attempts) for letter in post.bridge.letters] == [(REFUSED, 1)]


async def test_what_no_class_knows_or_nobody_can_read_goes_to_the_dead_letters_with_its_bytes() -> None:
    async with posting() as post:
        odd = [
            row(1, kind="photo"),
            row(2, body=b"\xc1"),
            row(3, schema_version=2),
            row(4, kind="strict"),
            row(5, kind="message"),
        ]
        post.post(*odd)
        await post.settle()

        reasons = [letter.reason for letter in post.bridge.letters]
        assert reasons == [UNKNOWN_KIND, UNDECODABLE, TOO_NEW, UNDECODABLE]
        assert [letter.body for letter in post.bridge.letters] == [part.body for part in odd[:4]]
        assert post.bot.came == ["5"], "under a former name it is known"
        assert post.bridge.rows == {}


async def test_a_delivery_past_its_deadline_is_cancelled_and_tried_again_under_its_key() -> None:
    hangs = [True]

    async def before(text: str) -> None:
        if hangs.pop() if hangs else False:
            await anyio.sleep_forever()

    async with posting(Bot(before=before)) as post:
        post.post(row(1))
        await post.settle(29)
        assert post.outbox.running == 1
        await post.settle(2)
        assert post.counters.delivery_failures == 1
        await post.settle(2)

        assert (post.bot.tries, post.bot.keys) == (["1", "1"], ["key-1"])


async def test_a_delivery_that_swallows_its_cancellation_has_not_delivered() -> None:
    hangs = [True]

    async def before(text: str) -> None:
        if hangs:
            hangs.clear()
            with anyio.CancelScope(shield=True):
                await post.clock.sleep(40)

    async with posting(Bot(before=before)) as post:
        post.post(row(1))
        await post.settle(60)

        assert post.bot.tries == ["1", "1"]
        assert post.counters.delivery_failures == 1
        assert post.bridge.rows == {}


async def test_one_that_ignores_its_cancellation_blocks_its_own_session_only() -> None:
    let_go = anyio.Event()

    async def before(text: str) -> None:
        if text == "1":
            with anyio.CancelScope(shield=True):
                await let_go.wait()

    async with posting(Bot(before=before), concurrent_max=1) as post:
        post.post(row(1), row(2))
        post.post(row(3), sid=2)
        await post.settle(29)
        assert post.bot.tries == ["1"]
        await post.settle(2)

        assert post.bot.tries == ["1", "3"]
        let_go.set()
        await post.settle(10)
        assert post.bot.came == ["1", "3", "1", "2"] or post.bot.came == ["3", "1", "1", "2"]


async def test_notes_are_coalesced_while_one_is_with_the_store() -> None:
    async with posting() as post:
        post.bridge.is_slow = True
        post.post(*(row(number) for number in range(1, 101)))
        await post.settle()
        assert len(post.bot.came) == 100
        assert len(post.bridge.notes) == 1
        post.bridge.is_slow = False
        post.bridge.write()
        await post.settle()

        assert [len(note.mail.outbox_settled) for note in post.bridge.notes] == [1, 99]
        assert post.bridge.rows == {}


async def test_a_note_that_the_store_refuses_is_written_later_and_delivers_nothing_twice() -> None:
    async with posting() as post:
        post.bridge.answers = [StoreRefused(StoreUnavailable("full")), Unknown(StoreUnavailable("who knows"))]
        resident = post.post(row(1), row(2))
        await post.settle()
        assert post.bot.came == ["1", "2"]
        assert not post.outbox.is_idle(resident)
        await post.settle(5)

        assert post.bot.came == ["1", "2"]
        assert post.bridge.rows == {}
        assert post.outbox.is_idle(resident)


async def test_a_dead_letter_that_the_store_refuses_holds_the_session_until_it_is_durable() -> None:
    async with posting() as post:
        post.bridge.answers = [StoreRefused(RecordRefused("no"))] * 3
        post.post(row(1, kind="photo"), row(2))
        await post.settle()
        assert post.bot.came == []
        await post.settle(5)

        assert [letter.id for letter in post.bridge.letters] == ["out-1"]
        assert post.bot.came == ["2"]


async def test_a_dead_letter_that_may_have_been_written_is_written_once() -> None:
    async with posting() as post:
        post.bridge.answers = [Unknown(StoreUnavailable("who knows")), Unknown(StoreUnavailable("who knows"))]
        post.post(row(1, kind="photo"), row(2))
        await post.settle(5)

        assert len(post.bridge.notes) == 4
        assert [letter.id for letter in post.bridge.letters] == ["out-1"]
        assert post.bot.came == ["2"]


@pytest.mark.parametrize("answer", [Fenced(whole_store=True), StoreRefused(StoreFailed("gone"))])
async def test_who_lost_the_store_delivers_nothing_more(answer: Any) -> None:
    async with posting() as post:
        post.bridge.is_slow = True
        post.bridge.answers = [answer]
        post.post(row(1))
        await post.settle()
        post.bridge.write()
        await post.settle()
        post.post(row(2))
        post.post(row(3), sid=2)
        await post.settle(60)

        assert post.bot.came == ["1"]


async def test_a_session_that_is_gone_is_forgotten_alone() -> None:
    async with posting() as post:
        post.bridge.is_slow = True
        post.bridge.answers = [Fenced(whole_store=False)]
        resident = post.post(row(1))
        await post.settle()
        post.bridge.write()
        post.bridge.is_slow = False
        post.post(row(3), sid=2)
        await post.settle()

        assert post.bot.came == ["1", "3"]
        assert post.outbox.is_idle(resident)


async def test_after_a_crash_what_was_not_noted_leaves_again_and_nothing_is_lost() -> None:
    host = current_host_loop()
    rows = [(1, row(number)) for number in (1, 2, 3)]
    bridge = PaperBridge(host, rows)
    bridge.is_slow = True
    async with posting(bridge=bridge) as post:
        resident = post.someone()
        post.outbox.take(resident, bridge.of(1))
        await post.settle()
        assert post.bot.came == ["1", "2", "3"]
        assert len(bridge.rows) == 3, "no note was written, and the process ends here"
        bridge.is_slow = False
        bridge.write()

    again = PaperBridge(host, [(1, row(number)) for number in (1, 2, 3)])
    async with posting(bridge=again) as post:
        post.outbox.take(post.someone(), again.of(1), restored=True)
        await post.settle()

        assert post.bot.came == ["1", "2", "3"]
        assert again.rows == {}


async def test_what_is_known_is_not_taken_twice_when_the_session_is_read_back() -> None:
    async with posting() as post:
        post.bridge.is_slow = True
        resident = post.post(row(1), row(2))
        await post.settle()
        post.bridge.rows[3] = 1, row(3)
        post.outbox.take(resident, [row(1), row(2), row(3)], restored=True)
        post.bridge.is_slow = False
        post.bridge.write()
        await post.settle(5)

        assert post.bot.came == ["1", "2", "3"]


async def test_a_row_of_an_earlier_process_counts_its_try_before_it_begins() -> None:
    seen = list[int]()

    async def before(text: str) -> None:
        seen.append(bridge.rows[1][1].attempts)

    bridge = PaperBridge(current_host_loop(), [(1, row(1, attempts=2))])
    async with posting(Bot(before=before), bridge) as post:
        post.outbox.take(post.someone(), bridge.of(1), restored=True)
        await post.settle()

        assert seen == [3]
        assert bridge.rows == {}


async def test_a_delivery_that_kills_every_process_ends_in_the_dead_letters() -> None:
    bridge = PaperBridge(current_host_loop(), [(1, row(1)), (1, row(2))])
    lives, came = 0, list[str]()
    while not came and lives < 9:
        lives += 1

        async def before(text: str) -> None:
            if text == "1":
                await anyio.sleep_forever()

        async with posting(Bot(before=before), bridge, attempts_max=3) as post:
            post.outbox.take(post.someone(), bridge.of(1), restored=True)
            await post.settle()
            came = post.bot.came
            bridge.is_slow = post.is_killed = True
        bridge.lose()

    assert lives == 4
    assert [(letter.reason, letter.attempts) for letter in bridge.letters] == [(EXHAUSTED, 3)]
    assert came == ["2"]


async def test_a_back_off_goes_on_after_a_restart_and_never_longer_than_any() -> None:
    clock = VirtualClock()
    due_us = microseconds(clock.wall()) + 5_000_000
    bridge = PaperBridge(current_host_loop(), [(1, row(1, due_us=due_us)), (2, row(2, due_us=due_us + 10**15))])
    async with posting(bridge=bridge) as post:
        post.outbox.take(post.someone(1), bridge.of(1), restored=True)
        post.outbox.take(post.someone(2), bridge.of(2), restored=True)
        await post.settle(4)
        assert post.bot.tries == []
        await post.settle(2)
        assert post.bot.tries == ["1"]
        await post.settle(3)

        assert post.bot.tries == ["1", "2"]


async def test_closing_waits_for_what_runs_and_begins_nothing_more() -> None:
    gate = anyio.Event()

    async def before(text: str) -> None:
        await gate.wait()

    async with posting(Bot(before=before)) as post:
        closed = anyio.Event()

        async def close() -> None:
            await post.outbox.close()
            closed.set()

        async with anyio.create_task_group() as group:
            post.post(row(1), row(2))
            await post.settle()
            post.bridge.is_slow = True
            group.start_soon(close)
            await post.settle()
            gate.set()
            await post.settle()
            assert post.bot.came == ["1"]
            assert not closed.is_set(), "the store has not heard of it"
            post.bridge.write()
            await closed.wait()

        assert list(post.bridge.rows) == [2], "nothing is lost"
        post.post(row(3))
        await post.settle(60)
        assert post.bot.tries == ["1"]


async def test_a_close_that_cannot_wait_cuts_what_runs_and_counts_no_attempt() -> None:
    async def before(text: str) -> None:
        await anyio.sleep_forever()

    async with posting(Bot(before=before)) as post:
        post.post(row(1))
        await post.settle()
        assert post.outbox.running == 1
        with anyio.move_on_after(0):
            await post.outbox.close()
        await post.settle()

        assert post.outbox.running == 0
        assert post.bridge.rows[1][1].attempts == 0
        assert post.bridge.notes == []
        assert post.counters.delivery_failures == 0


async def test_an_attempt_that_was_counted_before_it_began_is_taken_back_when_it_is_cut() -> None:
    async def before(text: str) -> None:
        await anyio.sleep_forever()

    bridge = PaperBridge(current_host_loop(), [(1, row(1, attempts=2))])
    async with posting(Bot(before=before), bridge) as post:
        post.outbox.take(post.someone(), bridge.of(1), restored=True)
        await post.settle()
        assert bridge.rows[1][1].attempts == 3
        with anyio.move_on_after(0):
            await post.outbox.close()
        await post.settle()

        assert bridge.rows[1][1].attempts == 2


async def test_a_stop_between_the_count_of_an_attempt_and_its_begin_lets_it_begin() -> None:
    bridge = PaperBridge(current_host_loop(), [(1, row(1)), (1, row(2))])
    async with posting(bridge=bridge) as post:
        bridge.is_slow = True
        post.outbox.take(post.someone(), bridge.of(1), restored=True)
        post.outbox.stop()
        bridge.is_slow = False
        bridge.write()
        await post.settle()

        assert post.bot.came == ["1"]
        assert {number: stored.attempts for number, (_, stored) in bridge.rows.items()} == {2: 0}


async def test_a_delivery_has_a_context_of_its_own() -> None:
    left: ContextVar[str] = ContextVar("left", default="nothing")
    seen = list[str]()

    async def before(text: str) -> None:
        seen.append(left.get())
        left.set(text)
        with pytest.raises(ConfigurationError, match="No turn is running here"):
            current_turn()

    async with posting(Bot(before=before)) as post:
        post.post(row(1), row(2))
        left.set("of the poster")
        await post.settle()

        assert post.bot.came == ["1", "2"]
        assert seen == ["nothing", "nothing"]


async def test_a_failure_tells_its_class_and_nothing_of_its_words(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "salon")
    async with posting(Bot(before=failing(9)), attempts_max=2) as post:
        post.post(row(1, "what a user said"))
        for _ in range(3):
            await post.settle(1)

        assert [letter.cause for letter in post.bridge.letters] == ["ConnectionError"]
    assert "ConnectionError" in caplog.text
    assert "stranger" not in caplog.text
    assert "what a user said" not in caplog.text


async def test_two_thousand_sessions_that_wait_have_few_tasks() -> None:
    async with posting(Bot(before=failing(2_000))) as post:
        for sid in range(1, 2_001):
            post.post(row(sid), sid=sid)
        await post.settle()
        assert post.counters.delivery_failures == 2_000
        assert post.clock.sleeping < 100
        await post.settle(2)

        assert post.counters.delivered == 2_000
        assert post.bridge.rows == {}


async def test_rows_that_come_out_of_turn_leave_by_number_behind_the_one_under_way() -> None:
    gate = anyio.Event()

    async def before(text: str) -> None:
        await gate.wait()

    async with posting(Bot(before=before)) as post:
        post.post(row(5))
        await post.settle()
        post.post(row(9))
        post.post(row(3))
        gate.set()
        await post.settle()

        assert post.bot.came == ["5", "3", "9"]

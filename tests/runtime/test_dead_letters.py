"""Dead letters are listed without a word of what they say, opened on request, sent again once, or dropped."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from salon import Corrupt, Fenced, Message, MessageInvalid, NoHandler, SchemaTooNew, Session, SessionNotFound, receive
from salon.backoff import Backoff
from salon.dead_letters import RECEIVER_GONE, DeadLetters, Doors, OpenedLetter
from salon.deliver import deliver, deliverers_by_name, deliveries_of
from salon.errors import DeadLetterNotFound, SalonError
from salon.info import microseconds, moment
from salon.metrics import Counters
from salon.outbox import Bounds, Outbox
from salon.outgoing import Outgoing
from salon.resident import Resident
from salon.testing import SeededChance, VirtualClock
from salon.wall import Wall
from salon_actors import HostLoop, current_host_loop
from salon_persistence import codec
from salon_persistence.bridge import Bridge, bridge_for
from salon_persistence.records import (
    DeadLetterRow,
    InboxRow,
    Mail,
    NoteRecord,
    Record,
    SessionRow,
    StoredSession,
    TurnRecord,
)
from salon_persistence.store import Applied, ByPublicId, Outcome
from tests.runtime.places import Place
from tests.runtime.waiting import until

DIED_US = 1_900_000_000_000_000
SECRET = "the words of a user"


class Say(Message[None], name="say", former_names=("tell",)):
    text: str


class Text(Outgoing, name="text"):
    text: str


class Chat(Session, name="chat"):
    @receive
    async def say(self, message: Say) -> None:
        pass

    @deliver
    async def send(self, out: Text) -> None:
        frame = cast(Any, self)._salon_frame
        if cast(Any, self.deps).refuses:
            raise ConnectionError
        if len(cast(Any, self.deps).came) >= cast(Any, self.deps).at_most:
            await anyio.sleep_forever()
        cast(Any, self.deps).came.append((frame.delivery.key, out.text))


DELIVERERS = {Chat: deliverers_by_name(deliveries_of(Chat, {}))}


@dataclass
class Bot:
    came: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    refuses: bool = False
    at_most: int = 99
    """After so many it takes its time."""


def letter(id: str, **changes: Any) -> DeadLetterRow:
    body = Chat.salon_type.handlers[Say].codec.encode(Say(text=SECRET))
    made: dict[str, Any] = {
        "id": id,
        "kind": "message",
        "reason": "attempts_exhausted",
        "message": "say",
        "schema_version": 1,
        "body": body,
        "at_us": DIED_US,
        "attempts": 3,
        "cause": "KeyError",
        "state_version": 12,
        "key": "update-17",
    }
    return DeadLetterRow(**{**made, **changes})


def outgoing(id: str, **changes: Any) -> DeadLetterRow:
    body = DELIVERERS[Chat]["text"].codec.encode(Text(text=SECRET))
    return letter(id, **{"kind": "outgoing", "message": "text", "body": body, "key": "t1-1.0", **changes})


def _someone(sid: int) -> Resident:
    return cast(Resident, SimpleNamespace(sid=sid, cls=Chat, generation=0, image=SimpleNamespace(version=1)))


@dataclass
class Desk:
    """Dead letters and an outbox over a real store, and stand-ins for the sessions themselves."""

    bridge: Bridge
    host: HostLoop
    clock: VirtualClock
    letters: DeadLetters
    counters: Counters
    bot: Bot
    outbox: Outbox
    accepted: list[InboxRow]
    sids: dict[str, int]

    def someone(self, sid: int) -> Resident:
        return _someone(sid)

    async def write(self, record: Record) -> Outcome:
        answered = self.host.promise()
        self.bridge.commit(record, answered.set_result)
        return cast(Outcome, await answered)

    async def session(self, public_id: str, type: str = "chat") -> int:
        uid = len(self.sids).to_bytes(16, "big")
        row = SessionRow(uid=uid, public_id=public_id, type=type, created_us=DIED_US, activity_us=DIED_US)
        made = await self.write(TurnRecord(sid=0, version=1, created=row, state={"count": codec.pack(0)}, whole=True))
        assert isinstance(made, Applied)
        self.sids[public_id] = made.sid
        return made.sid

    async def until_came(self, deliveries: int) -> None:
        await until(lambda: len(self.bot.came) == deliveries)

    async def bury(self, sid: int, *rows: DeadLetterRow) -> None:
        assert isinstance(await self.write(NoteRecord(sid=sid, mail=Mail(dead_letters=rows))), Applied)

    async def stored(self, public_id: str = "s_1") -> StoredSession:
        found = await self.bridge.load(ByPublicId(public_id), {})
        assert found is not None
        return found

    async def ids(self) -> Sequence[str]:
        return [shown.id for shown in (await self.letters.list()).items]


@asynccontextmanager
async def desk(place: Place) -> AsyncGenerator[Desk]:
    host, clock, counters, bot = current_host_loop(), VirtualClock(), Counters(), Bot()
    bridge = bridge_for(place.store(), host, clock.monotonic)
    wall, sids, accepted = Wall(clock, 0), dict[str, int](), list[InboxRow]()
    bounds = Bounds(Backoff(1, 8), attempts_max=1, timeout_s=30, concurrent_max=4)
    outbox = Outbox(bridge, host, clock, wall, SeededChance(1), counters, bot, DELIVERERS, bounds)
    numbers = iter(range(1000, 2000))

    async def find(public_id: str) -> Resident:
        await anyio.lowlevel.checkpoint()
        if public_id not in sids:
            raise SessionNotFound
        return _someone(sids[public_id])

    def accept(resident: Resident, row: InboxRow) -> None:
        accepted.append(row)

    def refusal(resident: Resident | None, outcome: Any) -> SalonError:
        return Fenced(type(outcome).__name__)

    doors = Doors(find, lambda: next(numbers), accept, outbox, refusal, lambda resident: None)
    letters = DeadLetters(
        bridge, host, lambda: wall.now_us(clock.monotonic()), {"chat": Chat}, DELIVERERS, doors, counters
    )
    await bridge.open()
    try:
        yield Desk(bridge, host, clock, letters, counters, bot, outbox, accepted, sids)
        await outbox.close()
    finally:
        with anyio.CancelScope(shield=True):
            await bridge.close()
            await host.close()


async def test_letters_are_shown_without_a_word_of_what_they_say(place: Place) -> None:
    async with desk(place) as kept:
        await kept.bury(await kept.session("s_1"), letter("one"))
        (shown,) = (await kept.letters.list()).items

        assert (shown.id, shown.session_id, shown.type, shown.kind) == ("one", "s_1", "chat", "message")
        assert (shown.reason, shown.message, shown.cause) == ("attempts_exhausted", "say", "KeyError")
        assert (shown.attempts, shown.state_version, shown.at) == (3, 12, moment(DIED_US))
        assert SECRET not in repr(shown)
        assert SECRET not in shown.model_dump_json()


async def test_pages_hold_every_letter_once_also_when_some_are_dropped_between(place: Place) -> None:
    async with desk(place) as kept:
        one, two = await kept.session("s_1"), await kept.session("s_2")
        for number in range(7):
            await kept.bury((one, two)[number % 2], letter(f"{number}"))

        first = await kept.letters.list(limit=3)
        await kept.letters.drop("1")
        await kept.letters.drop("4")
        second = await kept.letters.list(after=first.next, limit=3)

        assert [shown.id for shown in first.items] == ["0", "1", "2"]
        assert [shown.session_id for shown in first.items] == ["s_1", "s_2", "s_1"]
        assert [shown.id for shown in second.items] == ["3", "5", "6"]
        assert second.next is None
        assert kept.counters.dead_letters_dropped == 2


@pytest.mark.parametrize("cursor", ["", "-1", "one", "9" * 19, "9" * 30, "1.5"])
async def test_a_cursor_of_something_else_is_told(place: Place, cursor: str) -> None:
    async with desk(place) as kept:
        with pytest.raises(ValueError):
            await kept.letters.list(after=cursor)
        with pytest.raises(ValueError):
            await kept.letters.list(limit=0)


async def test_an_opened_letter_says_what_its_message_was_if_its_class_is_known(place: Place) -> None:
    async with desk(place) as kept:
        sid = await kept.session("s_1")
        strange = letter("unknown", message="weather", body=b"raw")
        known = (letter("one"), letter("former", message="tell"), outgoing("out"))
        unread = (strange, letter("newer", schema_version=2), letter("broken", body=b"\xc1"))
        await kept.bury(sid, *known, *unread)
        opened: dict[str, OpenedLetter] = {row.id: await kept.letters.inspect(row.id) for row in (*known, *unread)}

        assert opened["one"].message == opened["former"].message == Say(text=SECRET)
        assert opened["out"].message == Text(text=SECRET)
        assert (opened["out"].key, opened["one"].key) == ("t1-1.0", "update-17")
        for row in unread:
            assert (opened[row.id].message, opened[row.id].body) == (None, row.body)


async def test_a_message_that_is_sent_again_goes_to_the_durable_inbox_and_its_letter_is_gone(place: Place) -> None:
    async with desk(place) as kept:
        sid = await kept.session("s_1")
        await kept.bury(sid, letter("one", priority=0), letter("two"))
        await kept.letters.redrive("one")

        (row,) = kept.accepted
        assert (row.number, row.sid, row.priority, row.message) == (1000, sid, 0, "say")
        assert (row.body, row.attempts, row.key) == (letter("one").body, 0, None)
        assert row.accepted_us == microseconds(kept.clock.wall())
        assert list((await kept.stored()).inbox) == [row]
        assert await kept.ids() == ["two"]
        assert kept.counters.dead_letters_redriven == 1


async def test_an_outgoing_letter_that_is_sent_again_leaves_under_its_key(place: Place) -> None:
    async with desk(place) as kept:
        await kept.bury(await kept.session("s_1"), outgoing("one"))
        await kept.letters.redrive("one")
        await until(lambda: kept.bot.came)

        assert kept.bot.came == [("t1-1.0", SECRET)]
        assert await kept.ids() == []
        await until(lambda: kept.counters.delivered)


async def test_an_outgoing_letter_that_fails_again_is_a_letter_again(place: Place) -> None:
    async with desk(place) as kept:
        kept.bot.refuses = True
        await kept.bury(await kept.session("s_1"), outgoing("one"))
        await kept.letters.redrive("one")
        with anyio.fail_after(10):
            while not (found := (await kept.letters.list()).items):  # noqa: ASYNC110  # nobody tells
                await anyio.sleep(0.001)

        assert [(shown.id, shown.cause) for shown in found] == [("out-1000", "ConnectionError")]
        kept.bot.refuses = False
        await kept.letters.redrive("out-1000")
        await until(lambda: kept.bot.came)

        assert kept.bot.came == [("t1-1.0", SECRET)]


async def test_of_two_who_send_a_letter_again_at_once_one_does(place: Place) -> None:
    async with desk(place) as kept:
        await kept.bury(await kept.session("s_1"), letter("one"))
        missed = list[DeadLetterNotFound]()

        async def redrive() -> None:
            try:
                await kept.letters.redrive("one")
            except DeadLetterNotFound as error:
                missed.append(error)

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(redrive)

        assert len(kept.accepted) == 1
        assert len(missed) == 4
        assert len((await kept.stored()).inbox) == 1


async def is_in_one_place(kept: Desk) -> bool:
    """The two reads are not of one moment: between them the letter may have moved, once."""
    for _ in range(2):
        if len(await kept.ids()) + len((await kept.stored()).inbox) == 1:
            return True
    return False


async def test_whoever_stops_waiting_has_sent_it_again_or_not_but_never_lost_it(place: Place) -> None:
    async with desk(place) as kept:
        await kept.bury(await kept.session("s_1"), letter("one"))
        for steps in range(60):
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(kept.letters.redrive, "one")
                    for _ in range(steps):
                        await anyio.lowlevel.checkpoint()
                    scope.cancel()
            with anyio.move_on_after(0.005):
                await until(lambda: kept.accepted)
            assert await is_in_one_place(kept)
            if kept.accepted:
                break
        else:
            await kept.letters.redrive("one")

        assert len(kept.accepted) == 1
        assert await kept.ids() == []


async def test_what_would_die_again_stays_where_it_is(place: Place) -> None:
    async with desk(place) as kept:
        sid = await kept.session("s_1")
        foreign = await kept.session("s_3", "other")
        cases: list[tuple[int, DeadLetterRow, type[SalonError]]] = [
            (sid, letter("unknown", message="weather"), NoHandler),
            (sid, outgoing("unknown kind", message="photo"), NoHandler),
            (sid, letter("newer", schema_version=2), SchemaTooNew),
            (sid, letter("invalid", body=codec.pack({"text": 5})), MessageInvalid),
            (sid, letter("broken", body=b"\xc1"), Corrupt),
            (sid, letter("elsewhere", reason=RECEIVER_GONE, cause="s12"), SessionNotFound),
            (foreign, letter("of an unknown type"), NoHandler),
        ]
        for owner, row, expected in cases:
            await kept.bury(owner, row)
            with pytest.raises(expected):
                await kept.letters.redrive(row.id)
            with pytest.raises(expected):  # and it is not left as if somebody dealt with it
                await kept.letters.redrive(row.id)

        assert await kept.ids() == [row.id for _, row, _ in cases]
        assert kept.accepted == []


async def test_a_letter_that_is_not_there_is_told(place: Place) -> None:
    async with desk(place) as kept:
        await kept.bury(await kept.session("s_1"), letter("one"))
        await kept.letters.drop("one")

        for verb in (kept.letters.inspect, kept.letters.redrive, kept.letters.drop):
            for id in ("one", "never", ""):
                with pytest.raises(DeadLetterNotFound):
                    await verb(id)


async def test_letters_are_there_after_a_restart(place: Place) -> None:
    async with desk(place) as kept:
        await kept.bury(await kept.session("s_1"), letter("one"), outgoing("two"))
    async with desk(place) as kept:
        assert await kept.ids() == ["one", "two"]
        assert (await kept.letters.inspect("one")).message == Say(text=SECRET)


async def test_the_outbox_keeps_its_order_and_loses_nothing_over_restarts(place: Place) -> None:
    """Each life of the process delivers some of what is stored."""
    text = DELIVERERS[Chat]["text"]
    rows = [text.row(Text(text=str(number)), number, f"key-{number}") for number in range(1, 21)]
    came, sid, lives = list[str](), 0, 0
    async with desk(place) as kept:
        sid = await kept.session("s_1")
        assert isinstance(await kept.write(NoteRecord(sid=sid, mail=Mail(outbox_added=rows))), Applied)
    while len(came) < 20 and lives < 40:
        lives += 1
        async with desk(place) as kept:
            kept.bot.at_most = lives
            kept.outbox.take(kept.someone(sid), (await kept.stored()).outbox, restored=True)
            await kept.until_came(min(lives, 20 - len(came)))
            came += [text for _, text in kept.bot.came]
            with anyio.move_on_after(0):
                await kept.outbox.close()

    assert came == [str(number) for number in range(1, 21)]
    assert lives == 6

"""What every store must do, as checks that take a place to keep.

A check raises AssertionError when the store breaks its promise. `broken.py` holds stores that must not pass.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Protocol

from salon_persistence.errors import NameTaken, RecordRefused, StoreFailed, StoreInUse
from salon_persistence.records import LogDelta, LogPage, LogShape, Record, SnapshotRecord, TurnRecord
from salon_persistence.store import (
    Applied,
    ByName,
    ByPublicId,
    Fenced,
    Outcome,
    Refused,
    SessionQuery,
    Store,
    StoreInfo,
)
from tests.persistence.sessions import EVERY_PART, NOW_US, WINDOWS, created, lines_of, row, said, snapshot, turn


class Place(Protocol):
    """Where a store keeps what it keeps."""

    def store(self) -> Store:
        """A store on what is kept here, new each time; not open yet."""
        ...

    def unlock(self) -> None:
        """Take the lock away from whoever owns it, so that the fence alone must hold."""
        ...


Check = Callable[[Place], Awaitable[None]]


@asynccontextmanager
async def opened(place: Place) -> AsyncGenerator[Store]:
    store = place.store()
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def applied(store: Store, *batch: Record) -> list[Applied]:
    outcomes = await store.commit(batch)
    assert len(outcomes) == len(batch), outcomes
    return [is_applied(outcome) for outcome in outcomes]


def is_applied(outcome: Outcome) -> Applied:
    assert isinstance(outcome, Applied), outcome
    return outcome


def is_fenced(outcome: Outcome, *, whole_store: bool) -> None:
    assert outcome == Fenced(whole_store=whole_store), outcome


def is_refused(outcome: Outcome, kind: type[Exception]) -> None:
    assert isinstance(outcome, Refused), outcome
    assert isinstance(outcome.error, kind), outcome.error


async def fails(asked: Awaitable[object]) -> None:
    try:
        await asked
    except StoreFailed:
        return
    raise AssertionError("It answered all the same.")


async def grown(store: Store, turns: int, number: int = 1) -> list[Applied]:
    """A session with so many turns; an Applied for each."""
    done = await applied(store, created(number))
    for version in range(2, turns + 1):
        done += await applied(store, turn(done[0].sid, version))
    return done


async def history(store: Store, number: int = 1) -> list[int]:
    """The versions that a load brings, in order, snapshot first."""
    stored = await store.load(ByPublicId(f"public-{number}"), WINDOWS)
    assert stored is not None
    start = [stored.snapshot.version] if stored.snapshot else []
    versions = start + [record.version for record in stored.tail]
    assert versions[-1] == stored.row.version, versions
    return versions


async def a_session_is_found_by_its_name_and_its_public_id(place: Place) -> None:
    async with opened(place) as store:
        (done,) = await applied(store, created())
        by_id = await store.load(ByPublicId("public-1"), WINDOWS)
        by_name = await store.load(ByName("", "chat", "name-1"), WINDOWS)

        assert by_id is not None
        assert by_id == by_name
        assert by_id.row == replace(row(), sid=done.sid, version=1, head_lsn=done.lsn)
        assert by_id.tail == (replace(created(), sid=done.sid),)
        assert by_id.snapshot is None
        assert await store.load(ByPublicId("public-2"), WINDOWS) is None
        assert await store.load(ByName("", "chat", "name-2"), WINDOWS) is None
        assert await store.load(ByName("elsewhere", "chat", "name-1"), WINDOWS) is None


async def every_turn_is_there_at_once_and_in_order(place: Place) -> None:
    async with opened(place) as store:
        done = await grown(store, 6)
        stored = await store.load(ByPublicId("public-1"), WINDOWS)

        assert stored is not None
        assert stored.tail[1:] == tuple(turn(done[0].sid, version) for version in range(2, 7))
        assert stored.row.head_lsn == done[-1].lsn


async def what_was_answered_applied_is_there_after_the_owner_vanished(place: Place) -> None:
    async with opened(place) as abandoned:
        await grown(abandoned, 4)
        place.unlock()
        async with opened(place) as store:
            assert await history(store) == [1, 2, 3, 4]


async def what_was_answered_applied_is_there_after_closing(place: Place) -> None:
    async with opened(place) as store:
        await grown(store, 3)
    async with opened(place) as store:
        assert await history(store) == [1, 2, 3]


async def outcomes_come_in_the_order_of_the_batch(place: Place) -> None:
    async with opened(place) as store:
        first, second, third = await applied(store, created(1), created(2), created(3))
        batch = [turn(third.sid, 2), turn(first.sid, 9), turn(second.sid, 2), created(1), turn(first.sid, 2)]
        outcomes = await store.commit(batch)

        assert is_applied(outcomes[0]).sid == third.sid
        is_fenced(outcomes[1], whole_store=False)
        assert is_applied(outcomes[2]).sid == second.sid
        is_refused(outcomes[3], NameTaken)
        assert is_applied(outcomes[4]).sid == first.sid


async def one_bad_record_spoils_no_other(place: Place) -> None:
    async with opened(place) as store:
        (done,) = await applied(store, created(1))
        bad = turn(done.sid, 2, at_us=2**70)
        outcomes = await store.commit([created(2), bad, created(3, name="name-1"), created(4)])

        is_applied(outcomes[0])
        is_refused(outcomes[1], RecordRefused)
        is_refused(outcomes[2], NameTaken)
        is_applied(outcomes[3])
        assert [await history(store, number) for number in (1, 2, 4)] == [[1], [1], [1]]
        assert await store.load(ByPublicId("public-3"), WINDOWS) is None


async def a_refused_record_leaves_nothing_behind(place: Place) -> None:
    async with opened(place) as store:
        await applied(store, created(1), created(2))
        renamed = turn(2, 2, row=row(2, name="name-1"))
        (outcome,) = await store.commit([renamed])
        is_refused(outcome, NameTaken)
        stored = await store.load(ByPublicId("public-2"), WINDOWS)

        assert stored is not None
        assert (stored.row.name, stored.row.version, len(stored.tail)) == ("name-2", 1, 1)
        await applied(store, turn(2, 2))


async def a_turn_holds_only_if_the_session_stands_right_before_it(place: Place) -> None:
    async with opened(place) as store:
        done = await grown(store, 3)
        for version in (1, 2, 3, 5):
            (outcome,) = await store.commit([turn(done[0].sid, version)])
            is_fenced(outcome, whole_store=False)
        (stranger,) = await store.commit([turn(done[0].sid + 1, 2)])
        is_fenced(stranger, whole_store=False)

        assert await history(store) == [1, 2, 3]
        await applied(store, turn(done[0].sid, 4))


async def a_turn_of_an_older_generation_is_fenced(place: Place) -> None:
    async with opened(place) as store:
        await applied(store, created())
        await applied(store, turn(1, 2, row=row(generation=5)))
        (stale,) = await store.commit([turn(1, 3)])
        is_fenced(stale, whole_store=False)
        await applied(store, turn(1, 3, generation=5))

        assert await history(store) == [1, 2, 3]


async def numbers_are_never_given_twice(place: Place) -> None:
    """Not after a refusal, and not after the next owner has taken over."""
    async with opened(place) as store:
        done = await applied(store, created(1), created(2))
        await store.commit([created(3, name="name-1"), turn(1, 9)])
        done += await applied(store, created(4), turn(1, 2))
    async with opened(place) as store:
        done += await applied(store, created(5), turn(1, 3))

        lsns = [outcome.lsn for outcome in done]
        assert lsns == sorted(set(lsns)), lsns
        assert len({done[0].sid, done[1].sid, done[2].sid, done[4].sid}) == 4
        assert done[3].sid == done[5].sid == done[0].sid


async def a_name_is_free_again_when_its_session_has_ended(place: Place) -> None:
    async with opened(place) as store:
        await applied(store, created(1))
        (taken,) = await store.commit([created(2, name="name-1")])
        is_refused(taken, NameTaken)
        others = (
            created(3, name="name-1", tenant="other"),
            created(4, name="name-1", type="bot"),
            created(5, name=None),
        )
        await applied(store, *others, created(6, name=None))
        ended = row(1, lifecycle="expired", reason="idle")
        await applied(store, turn(1, 2, row=ended))
        (again,) = await applied(store, created(2, name="name-1"))
        found = await store.load(ByName("", "chat", "name-1"), WINDOWS)
        old = await store.load(ByPublicId("public-1"), WINDOWS)

        assert found is not None
        assert old is not None
        assert found.row.sid == again.sid
        assert (old.row.lifecycle, old.row.reason) == ("expired", "idle")


async def a_public_id_may_be_changed_and_is_unique(place: Place) -> None:
    async with opened(place) as store:
        await applied(store, created(1), created(2))
        (outcome,) = await store.commit([turn(1, 2, row=row(1, public_id="public-2"))])
        is_refused(outcome, RecordRefused)
        await applied(store, turn(1, 2, row=row(1, public_id="rotated")))

        assert await store.load(ByPublicId("public-1"), WINDOWS) is None
        rotated = await store.load(ByPublicId("rotated"), WINDOWS)
        assert rotated is not None
        assert rotated.row.sid == 1


async def every_fact_of_a_row_comes_back(place: Place) -> None:
    facts = row(
        1,
        tenant="t",
        user_id="u",
        conversation_id="c",
        device_id="d",
        generation=3,
        reason="r",
        owner_epoch=4,
        deadline_us=NOW_US + 5,
        facts=b"\x00facts",
    )
    async with opened(place) as store:
        await applied(store, created())
        (done,) = await applied(store, turn(1, 2, row=facts))
        stored = await store.load(ByPublicId("public-1"), WINDOWS)

        assert stored is not None
        assert stored.row == replace(facts, sid=1, version=2, head_lsn=done.lsn)


async def activity_and_deadline_change_only_when_a_turn_says_so(place: Place) -> None:
    async with opened(place) as store:
        await applied(store, created(1, deadline_us=7))
        seen: list[tuple[int, int | None]] = []
        times: tuple[dict[str, int], ...] = (
            {},
            {"activity_us": 20},
            {"deadline_us": 30},
            {"activity_us": 21, "deadline_us": 31},
            {},
        )
        for version, changes in enumerate(times, start=2):
            await applied(store, turn(1, version, **changes))
            stored = await store.load(ByPublicId("public-1"), WINDOWS)
            assert stored is not None
            seen.append((stored.row.activity_us, stored.row.deadline_us))

        assert seen == [(NOW_US + 1, 7), (20, 7), (20, 30), (21, 31), (21, 31)]


async def a_record_either_creates_or_continues(place: Place) -> None:
    async with opened(place) as store:
        await applied(store, created(1))
        muddled = [
            TurnRecord(sid=0, version=1),
            TurnRecord(sid=1, version=2, created=row(2)),
            replace(created(2), version=2),
        ]
        for outcome in await store.commit(muddled):
            is_refused(outcome, RecordRefused)

        assert await history(store) == [1]


async def a_snapshot_takes_the_place_of_the_turns_before(place: Place) -> None:
    async with opened(place) as store:
        done = await grown(store, 20)
        is_applied((await store.keep([snapshot(1, 20, done[19].lsn)]))[0])
        assert await history(store) == [20]
        await applied(store, turn(1, 21), turn(1, 22))
        stored = await store.load(ByPublicId("public-1"), WINDOWS)

        assert await history(store) == [20, 21, 22]
        assert stored is not None
        assert lines_of(stored) == {number: said(number + 2) for number in range(21)}


async def a_snapshot_behind_the_newest_turn_loses_none(place: Place) -> None:
    async with opened(place) as store:
        done = await grown(store, 12)
        is_applied((await store.keep([snapshot(1, 9, done[8].lsn)]))[0])

        assert await history(store) == [9, 10, 11, 12]


async def snapshots_follow_one_another(place: Place) -> None:
    async with opened(place) as store:
        done = await grown(store, 40)
        paged = 0
        for version in (10, 20, 30, 40):
            kept = snapshot(1, version, done[version - 1].lsn, paged=paged)
            is_applied((await store.keep([kept]))[0])
            paged = version - 1
            assert await history(store) == list(range(version, 41))
    async with opened(place) as store:
        await applied(store, turn(1, 41))
        stored = await store.load(ByPublicId("public-1"), WINDOWS)

        assert stored is not None
        assert lines_of(stored) == {number: said(number + 2) for number in range(40)}


async def a_snapshot_of_a_turn_that_is_not_there_is_fenced(place: Place) -> None:
    async with opened(place) as store:
        done = await grown(store, 3)
        wrong = (snapshot(1, 4, 4), snapshot(1, 3, done[1].lsn), snapshot(2, 3, done[2].lsn))
        for outcome in await store.keep(wrong):
            is_fenced(outcome, whole_store=False)

        assert await history(store) == [1, 2, 3]


async def a_snapshot_finds_its_turn_when_it_does_not_know_its_lsn(place: Place) -> None:
    async with opened(place) as store:
        done = await grown(store, 5)
        (outcome,) = await store.keep([snapshot(1, 4, 0)])

        assert outcome == Applied(1, done[3].lsn)
        assert await history(store) == [4, 5]


async def a_snapshot_may_be_written_twice_but_not_go_back(place: Place) -> None:
    async with opened(place) as store:
        done = await grown(store, 6)
        for version in (3, 5, 5):
            is_applied((await store.keep([snapshot(1, version, done[version - 1].lsn)]))[0])
        for outcome in await store.keep([snapshot(1, 4, done[3].lsn)]):
            is_refused(outcome, RecordRefused)

        assert await history(store) == [5, 6]


async def a_bad_snapshot_spoils_no_other(place: Place) -> None:
    async with opened(place) as store:
        first, second = await applied(store, created(1), created(2))
        bad = replace(snapshot(1, 1, first.lsn), pages=(LogPage("lines", ()),))
        outcomes = await store.keep([bad, snapshot(2, 1, second.lsn)])

        is_refused(outcomes[0], RecordRefused)
        is_applied(outcomes[1])
        stored = await store.load(ByPublicId("public-1"), WINDOWS)
        assert stored is not None
        assert stored.snapshot is None


async def a_load_brings_as_many_of_the_newest_items_as_were_asked_for(place: Place) -> None:
    async with opened(place) as store:
        done = await grown(store, 41)
        is_applied((await store.keep([snapshot(1, 41, done[40].lsn)]))[0])
        found: list[int] = []
        for wanted in (0, 1, 8, 9, 100):
            stored = await store.load(ByPublicId("public-1"), {"chat": {"lines": wanted}, "bot": {"lines": 99}})
            assert stored is not None
            lines = lines_of(stored)
            assert sorted(lines) == list(range(40 - len(lines), 40))
            found.append(len(lines))

        assert found == [0, 8, 8, 16, 40]


async def items_that_were_dropped_do_not_count_as_newest(place: Place) -> None:
    async with opened(place) as store:
        done = await grown(store, 41)
        is_applied((await store.keep([snapshot(1, 41, done[40].lsn)]))[0])
        cut = LogDelta("lines", 0, 40, cuts=((30, 40),))
        await applied(store, turn(1, 42, logs=(cut,)))
        stored = await store.load(ByPublicId("public-1"), {"chat": {"lines": 4}})

        assert stored is not None
        assert set(range(26, 30)) <= set(lines_of(stored))


async def pages_are_read_newest_first_and_no_further_than_needed(place: Place) -> None:
    async with opened(place) as store:
        done = await grown(store, 25)
        is_applied((await store.keep([snapshot(1, 25, done[24].lsn)]))[0])
        found = {
            (before, items): [page.first for page in await store.read_pages(1, "lines", before, items)]
            for before, items in ((24, 8), (24, 9), (24, 99), (20, 4), (20, 5), (8, 1), (0, 5), (24, 0))
        }

        assert found == {
            (24, 8): [16],
            (24, 9): [16, 8],
            (24, 99): [16, 8, 0],
            (20, 4): [16],
            (20, 5): [16, 8],
            (8, 1): [0],
            (0, 5): [],
            (24, 0): [],
        }
        assert list(await store.read_pages(1, "other", 24, 9)) == []
        assert list(await store.read_pages(2, "lines", 24, 9)) == []


async def pages_are_rewritten_and_dropped_by_later_snapshots(place: Place) -> None:
    async with opened(place) as store:
        done = await grown(store, 25)
        is_applied((await store.keep([snapshot(1, 25, done[24].lsn)]))[0])
        (last,) = await applied(store, turn(1, 26, logs=(LogDelta("lines", 0, 24, redactions={17: b"gone"}),)))
        rewritten = LogPage("lines", tuple((n, b"gone" if n == 17 else said(n + 2)) for n in range(16, 24)))
        mended = SnapshotRecord(
            sid=1,
            version=26,
            lsn=last.lsn,
            schema_version=1,
            state={},
            logs={"lines": LogShape(0, 24, 24)},  # that alone says nothing of the page to drop
            pages=(rewritten,),
            pages_dropped=(("lines", 0),),
        )
        is_applied((await store.keep([mended]))[0])
        pages = await store.read_pages(1, "lines", 24, 99)

        assert [page.first for page in pages] == [16, 8]
        assert dict(pages[0].items)[17] == b"gone"


async def pages_that_were_cut_elsewhere_give_way(place: Place) -> None:
    """A snapshot that was lost leaves its pages; the next one may end its own at other numbers."""
    async with opened(place) as store:
        done = await grown(store, 31)
        is_applied((await store.keep([snapshot(1, 31, done[30].lsn)]))[0])
        pages = tuple(
            LogPage("lines", tuple((n, said(n + 2)) for n in range(start, end))) for start, end in ((8, 20), (20, 30))
        )
        is_applied((await store.keep([replace(snapshot(1, 31, done[30].lsn), pages=pages)]))[0])
        found = await store.read_pages(1, "lines", 30, 99)

        assert [number for page in found[::-1] for number, _ in page.items] == list(range(30))


async def pages_of_dropped_items_leave_with_the_next_snapshot(place: Place) -> None:
    """Those from 0, 8, … 32: what is truncated and what is rewound; those from 8 and 16 have something left."""
    async with opened(place) as store:
        done = await grown(store, 41)
        is_applied((await store.keep([snapshot(1, 41, done[40].lsn)]))[0])
        dropped = LogDelta("lines", 9, 40, cuts=((20, 40),))
        (last,) = await applied(store, turn(1, 42, logs=(dropped,)))
        assert [page.first for page in await store.read_pages(1, "lines", 40, 99)] == [32, 24, 16, 8, 0]
        shapes = {"lines": LogShape(9, 40, 40, ((20, 40),))}
        is_applied((await store.keep([replace(snapshot(1, 42, last.lsn, paged=40), logs=shapes, pages=())]))[0])

        assert [page.first for page in await store.read_pages(1, "lines", 40, 99)] == [16, 8]
        stored = await store.load(ByPublicId("public-1"), WINDOWS)
        assert stored is not None
        assert set(range(9, 20)) <= set(lines_of(stored))
        (last,) = await applied(store, turn(1, 43, logs=(LogDelta("lines", 40, 40),)))
        is_applied(
            (await store.keep([replace(snapshot(1, 43, last.lsn), logs={"lines": LogShape(40, 40, 40)}, pages=())]))[0]
        )
        assert list(await store.read_pages(1, "lines", 40, 99)) == []


async def every_part_of_a_turn_comes_back(place: Place) -> None:
    record = replace(EVERY_PART, sid=1, version=2, generation=0, created=None, row=row(1, generation=0))
    async with opened(place) as store:
        await applied(store, created(1), record)
        stored = await store.load(ByPublicId("public-1"), WINDOWS)

        assert stored is not None
        assert stored.tail[1] == record


async def sessions_are_listed_by_key_newest_activity_first(place: Place) -> None:
    async with opened(place) as store:
        await applied(
            store,
            created(1, user_id="u", conversation_id="c", activity_us=30),
            created(2, user_id="u", device_id="d", activity_us=10),
            created(3, user_id="v", conversation_id="c", activity_us=20),
            created(4, user_id="u", tenant="t", activity_us=40),
            created(5, user_id="u", activity_us=10, lifecycle="expired"),
            created(6, activity_us=50),
        )

        async def found(**keys: object) -> list[int]:
            return [found.sid for found in await store.find(SessionQuery(**keys))]  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

        assert await found() == [6, 1, 3, 5, 2]
        assert await found(user_id="u") == [1, 5, 2]
        assert await found(user_id="u", lifecycle="active") == [1, 2]
        assert await found(lifecycle="expired") == [5]
        assert await found(conversation_id="c") == [1, 3]
        assert await found(device_id="d") == [2]
        assert await found(conversation_id="c", user_id="v") == [3]
        assert await found(tenant="t") == [4]
        assert await found(user_id="w") == []
        assert await found(limit=2) == [6, 1]
        assert await found(limit=2, after=(30, 1)) == [3, 5]
        assert await found(limit=2, after=(10, 5)) == [2]
        assert await found(user_id="u", after=(10, 2)) == []


async def the_list_follows_activity(place: Place) -> None:
    async with opened(place) as store:
        await applied(store, created(1), created(2))
        await applied(store, turn(1, 2, activity_us=NOW_US + 99))

        assert [found.sid for found in await store.find(SessionQuery())] == [1, 2]


async def a_second_owner_is_refused(place: Place) -> None:
    async with opened(place) as store:
        await grown(store, 2)
        second = place.store()
        try:
            await second.open()
        except StoreInUse:
            pass
        else:
            await second.close()
            raise AssertionError("Two owners at once.")
        await applied(store, turn(1, 3))
    async with opened(place) as store:
        assert await history(store) == [1, 2, 3]


async def without_the_lock_the_epoch_fences_the_older_owner_for_ever(place: Place) -> None:
    async with opened(place) as old:
        await grown(old, 2)
        place.unlock()
        async with opened(place) as new:
            await applied(new, turn(1, 3))
            for version in (3, 4):
                for outcome in await old.commit([turn(1, version), created(7)]):
                    is_fenced(outcome, whole_store=True)
            for outcome in await old.keep([snapshot(1, 2, 2)]):
                is_fenced(outcome, whole_store=True)
            await fails(old.probe())
            assert await history(new) == [1, 2, 3]
            await applied(new, turn(1, 4))
    async with opened(place) as store:
        assert await history(store) == [1, 2, 3, 4]
        assert await store.load(ByPublicId("public-7"), WINDOWS) is None


async def without_the_lock_an_older_owner_writes_no_snapshot(place: Place) -> None:
    async with opened(place) as old:
        done = await grown(old, 3)
        place.unlock()
        async with opened(place) as new:
            for outcome in await old.keep([snapshot(1, 2, done[1].lsn)]):
                is_fenced(outcome, whole_store=True)
            for outcome in await old.commit([turn(1, 4)]):
                is_fenced(outcome, whole_store=True)
            assert await history(new) == [1, 2, 3]


async def the_epoch_grows_with_every_owner_and_an_unclean_end_is_seen(place: Place) -> None:
    infos: list[StoreInfo] = []
    async with AsyncExitStack() as stack:
        for end in ("in order", "pushed aside", "in order"):
            store = place.store()
            infos.append(await store.open())
            stack.push_async_callback(store.close)
            if end == "in order":
                await store.close()
            else:
                place.unlock()
    last = place.store()
    infos.append(await last.open())
    await last.close()
    epochs = [info.epoch for info in infos]

    assert [info.clean for info in infos] == [True, True, False, True]
    assert epochs == sorted(set(epochs))
    assert {info.uuid for info in infos} == {infos[0].uuid}
    assert len(infos[0].uuid) == 16


async def time_never_runs_below_what_was_seen(place: Place) -> None:
    async with opened(place) as store:
        await applied(store, created())
    one = place.store()
    first = await one.open()
    await one.probe()
    await one.close()
    two = place.store()
    second = await two.open()
    await two.close()

    assert NOW_US < first.wall_high_us <= second.wall_high_us


async def a_store_that_is_closed_refuses_and_can_be_opened_again(place: Place) -> None:
    store = place.store()
    for _ in range(2):
        for outcome in [*await store.commit([created()]), *await store.keep([snapshot(1, 1, 1)])]:
            is_refused(outcome, StoreFailed)
        await fails(store.load(ByPublicId("public-1"), WINDOWS))
        await fails(store.find(SessionQuery()))
        await fails(store.read_pages(1, "lines", 9, 9))
        await fails(store.probe())
        await store.open()
        await store.probe()
        await store.close()
        await store.close()
    await store.open()
    try:
        await grown(store, 2)
        assert await history(store) == [1, 2]
    finally:
        await store.close()


async def an_empty_batch_is_answered_with_nothing(place: Place) -> None:
    async with opened(place) as store:
        assert list(await store.commit([])) == []
        assert list(await store.keep([])) == []


CHECKS: tuple[Check, ...] = (
    a_session_is_found_by_its_name_and_its_public_id,
    every_turn_is_there_at_once_and_in_order,
    what_was_answered_applied_is_there_after_the_owner_vanished,
    what_was_answered_applied_is_there_after_closing,
    outcomes_come_in_the_order_of_the_batch,
    one_bad_record_spoils_no_other,
    a_refused_record_leaves_nothing_behind,
    a_turn_holds_only_if_the_session_stands_right_before_it,
    a_turn_of_an_older_generation_is_fenced,
    numbers_are_never_given_twice,
    a_name_is_free_again_when_its_session_has_ended,
    a_public_id_may_be_changed_and_is_unique,
    every_fact_of_a_row_comes_back,
    activity_and_deadline_change_only_when_a_turn_says_so,
    a_record_either_creates_or_continues,
    a_snapshot_takes_the_place_of_the_turns_before,
    a_snapshot_behind_the_newest_turn_loses_none,
    snapshots_follow_one_another,
    a_snapshot_of_a_turn_that_is_not_there_is_fenced,
    a_snapshot_finds_its_turn_when_it_does_not_know_its_lsn,
    a_snapshot_may_be_written_twice_but_not_go_back,
    a_bad_snapshot_spoils_no_other,
    a_load_brings_as_many_of_the_newest_items_as_were_asked_for,
    items_that_were_dropped_do_not_count_as_newest,
    pages_are_read_newest_first_and_no_further_than_needed,
    pages_are_rewritten_and_dropped_by_later_snapshots,
    pages_that_were_cut_elsewhere_give_way,
    pages_of_dropped_items_leave_with_the_next_snapshot,
    every_part_of_a_turn_comes_back,
    sessions_are_listed_by_key_newest_activity_first,
    the_list_follows_activity,
    a_second_owner_is_refused,
    without_the_lock_the_epoch_fences_the_older_owner_for_ever,
    without_the_lock_an_older_owner_writes_no_snapshot,
    the_epoch_grows_with_every_owner_and_an_unclean_end_is_seen,
    time_never_runs_below_what_was_seen,
    a_store_that_is_closed_refuses_and_can_be_opened_again,
    an_empty_batch_is_answered_with_nothing,
)

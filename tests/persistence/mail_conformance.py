"""What every store must do with mail, as checks like those of `conformance`."""

from dataclasses import replace
from typing import Any

from salon_persistence.errors import NameTaken, RecordRefused
from salon_persistence.records import (
    CHECKPOINT,
    CHUNKS,
    DeadLetterRow,
    InboxRow,
    Mail,
    NoteRecord,
    OutboxRow,
    ProgressRow,
    Record,
    StepRow,
    StoredSession,
)
from salon_persistence.store import ByPublicId, LetterQuery, Refused, Store
from tests.persistence.conformance import Check, Place, applied, is_applied, is_fenced, is_refused, opened
from tests.persistence.sessions import NOW_US, WINDOWS, created, row, turn


def message(number: int, sid: int = 1, **changes: Any) -> InboxRow:
    parts: dict[str, Any] = {"priority": 1, "message": "say", "schema_version": 1, "body": b"said %d" % number}
    return InboxRow(number, sid, **{**parts, **changes})


def outgoing(number: int, **changes: Any) -> OutboxRow:
    parts: dict[str, Any] = {"key": f"key-{number}", "kind": "text", "schema_version": 1, "body": b"out %d" % number}
    return OutboxRow(number, **{**parts, **changes})


def letter(id: str, **changes: Any) -> DeadLetterRow:
    parts: dict[str, Any] = {
        "kind": "message",
        "reason": "crashed",
        "message": "say",
        "schema_version": 1,
        "body": b"letter " + id.encode(),
        "at_us": NOW_US,
    }
    return DeadLetterRow(id, **{**parts, **changes})


def note(sid: int = 1, generation: int = 0, **mail: Any) -> NoteRecord:
    return NoteRecord(sid=sid, generation=generation, mail=Mail(**mail))


async def loaded(store: Store, number: int = 1) -> StoredSession:
    stored = await store.load(ByPublicId(f"public-{number}"), WINDOWS)
    assert stored is not None
    return stored


async def numbers(store: Store, number: int = 1) -> list[int]:
    return [row.number for row in (await loaded(store, number)).inbox]


async def ids(store: Store, **query: Any) -> list[str]:
    return [found.row.id for found in await store.letters(LetterQuery(**query))]


EVERY_FIELD = InboxRow(
    number=5 << 40 | 7,
    sid=1,
    priority=2,
    message="say",
    schema_version=3,
    body=b"b",
    key="k",
    fingerprint=b"f",
    overlap="reject",
    deadline_us=NOW_US + 5,
    accepted_us=NOW_US,
    attempts=2,
    due_us=NOW_US + 3,
)


async def a_note_outlives_its_store(place: Place) -> None:
    async with opened(place) as store:
        await applied(store, created())
        (outcome,) = await applied(store, note(inbox_added=[EVERY_FIELD, message(8)]))

        assert (outcome.sid, outcome.lsn) == (1, 0)
        place.unlock()
        async with opened(place) as later:
            stored = await loaded(later)

            assert stored.inbox == (message(8), EVERY_FIELD)
            assert stored.row.version == 1
            assert (stored.progress, stored.steps, stored.outbox) == ((), (), ())


async def a_session_without_mail_loads_none(place: Place) -> None:
    async with opened(place) as store:
        await applied(store, created(1), created(2))
        await applied(store, note(2, inbox_added=[message(1, 2)], steps=[StepRow("o", "n", b"b", 1)]))
        stored = await loaded(store)

        assert (stored.inbox, stored.progress, stored.steps, stored.outbox) == ((), (), (), ())


async def a_turn_settles_what_it_ran_and_adds_what_it_sends(place: Place) -> None:
    async with opened(place) as store:
        await applied(store, created())
        await applied(store, note(inbox_added=[message(1), message(2)]))
        kept = [ProgressRow(1, CHECKPOINT, 0, b"draft"), ProgressRow(2, CHUNKS, 0, b"chunk")]
        await applied(store, note(inbox_started=[(1, 1)], progress=kept))
        mail = Mail(inbox_settled=[1], inbox_added=[message(3)], outbox_added=[outgoing(4)])
        await applied(store, turn(1, 2, mail=mail))
        stored = await loaded(store)

        assert stored.inbox == (message(2), message(3))
        assert stored.progress == (kept[1],)
        assert stored.outbox == (outgoing(4),)
        assert stored.tail[-1] == turn(1, 2)


async def a_mark_and_a_delay_change_nothing_else(place: Place) -> None:
    async with opened(place) as store:
        await applied(store, created())
        await applied(store, note(inbox_added=[EVERY_FIELD, message(1)], outbox_added=[outgoing(2)]))
        number = EVERY_FIELD.number
        await applied(store, note(inbox_started=[(number, 3)]))
        assert (await loaded(store)).inbox == (message(1), replace(EVERY_FIELD, attempts=3))
        await applied(store, note(inbox_put_off=[(number, NOW_US + 9), (1, 5)]))
        await applied(store, note(inbox_put_off=[(1, None)], outbox_tried=[(2, 1, 77)]))
        stored = await loaded(store)

        assert stored.inbox == (message(1), replace(EVERY_FIELD, attempts=3, due_us=NOW_US + 9))
        assert stored.outbox == (outgoing(2, attempts=1, due_us=77),)


async def progress_is_replaced_and_dropped_and_needs_its_row(place: Place) -> None:
    async with opened(place) as store:
        await applied(store, created(1), created(2))
        await applied(store, note(inbox_added=[message(1), message(2)]))
        first = [ProgressRow(1, CHUNKS, n, b"chunk %d" % n) for n in (1, 0)]
        await applied(store, note(progress=[*first, ProgressRow(1, CHECKPOINT, 0, b"old"), ProgressRow(2, 1, 0, b"x")]))
        again = ProgressRow(1, CHECKPOINT, 0, b"new")
        await applied(store, note(progress=[again, ProgressRow(9, CHECKPOINT, 0, b"of nobody")]))
        await applied(store, note(2, progress=[ProgressRow(1, CHECKPOINT, 0, b"of another")], progress_dropped=[2]))
        stored = await loaded(store)

        assert stored.progress == (again, first[1], first[0], ProgressRow(2, 1, 0, b"x"))
        await applied(store, note(progress=[ProgressRow(1, CHUNKS, 2, b"of before")]))
        await applied(store, note(progress_dropped=[1], progress=[ProgressRow(1, CHUNKS, 0, b"anew")]))
        assert (await loaded(store)).progress == (ProgressRow(1, CHUNKS, 0, b"anew"), ProgressRow(2, 1, 0, b"x"))


async def within_a_batch_what_comes_later_is_later(place: Place) -> None:
    """Also where many records are written by one statement."""
    async with opened(place) as store:
        await applied(store, created(1), created(2))
        await applied(
            store,
            note(inbox_added=[message(1)]),
            note(inbox_started=[(1, 1)]),
            note(progress=[ProgressRow(1, CHUNKS, 0, b"first attempt")], steps=[StepRow("t0-1", "a", b"old", 1)]),
            note(progress_dropped=[1], steps_dropped=["t0-1"]),
            note(inbox_started=[(1, 2)], progress=[ProgressRow(1, CHUNKS, 1, b"second attempt")]),
            note(steps=[StepRow("t0-1", "b", b"new", 2)]),
        )
        await applied(
            store,
            note(dead_letters=[letter("x")]),
            note(2, inbox_added=[message(2, 2)]),
            turn(2, 2, mail=Mail(inbox_settled=[2], dead_letters=[letter("y")])),
            note(dead_letters_dropped=["x", "y"], dead_letters=[letter("x", reason="again")]),
        )
        stored = await loaded(store)

        assert stored.inbox == (message(1, attempts=2),)
        assert stored.progress == (ProgressRow(1, CHUNKS, 1, b"second attempt"),)
        assert stored.steps == (StepRow("t0-1", "b", b"new", 2),)
        assert await numbers(store, 2) == []
        assert [found.row for found in await store.letters(LetterQuery())] == [
            letter("y"),
            letter("x", reason="again"),
        ]


async def steps_are_kept_by_owner_and_name(place: Place) -> None:
    async with opened(place) as store:
        await applied(store, created(1), created(2))
        rows = [StepRow("key:k", "a", b"1", NOW_US), StepRow("t0-1", "b", b"2", 5), StepRow("t0-1", "é", b"3", 5)]
        await applied(store, note(steps=[*rows, StepRow("t0-2", "a", b"", 0)]), note(2, steps=rows[:1]))
        await applied(store, note(steps=[StepRow("t0-1", "b", b"two", 6)], steps_dropped=["t0-2", "t0-3"]))
        await applied(store, turn(2, 2, mail=Mail(steps_dropped=["t0-1"])))

        assert (await loaded(store)).steps == (rows[0], StepRow("t0-1", "b", b"two", 6), rows[2])
        assert (await loaded(store, 2)).steps == (rows[0],)


async def nobody_touches_the_mail_of_another(place: Place) -> None:
    async with opened(place) as store:
        await applied(store, created(1), created(2))
        await applied(store, note(inbox_added=[message(1)], outbox_added=[outgoing(1)], dead_letters=[letter("x")]))
        theirs: dict[str, Any] = {"inbox_started": [(1, 9)], "inbox_put_off": [(1, 9)], "inbox_settled": [1]}
        outbox: dict[str, Any] = {"outbox_tried": [(1, 9, 9)], "outbox_settled": [1], "dead_letters_dropped": ["x"]}
        await applied(store, note(2, **theirs, **outbox))
        stored = await loaded(store)

        assert (stored.inbox, stored.outbox) == ((message(1),), (outgoing(1),))
        assert await ids(store) == ["x"]


async def a_note_adds_to_an_active_inbox_of_its_generation_only(place: Place) -> None:
    async with opened(place) as store:
        await applied(store, created(1), created(2), created(3))
        ended = turn(2, 2, row=row(2, lifecycle="expired"))
        raised = turn(3, 2, row=row(3, generation=4))
        outcomes = await store.commit(
            [
                note(2, inbox_added=[message(1, 2)]),
                ended,
                note(2, inbox_added=[message(2, 2)]),
                raised,
                note(3, inbox_added=[message(3, 3)]),
                note(3, 4, inbox_added=[message(4, 3)]),
                note(9, inbox_added=[message(5, 9)]),
                note(1, inbox_added=[message(6), message(7)]),
            ]
        )

        for place_, outcome in enumerate(outcomes):
            if place_ in (2, 4, 6):
                is_fenced(outcome, whole_store=False)
            else:
                is_applied(outcome)
        assert [await numbers(store, number) for number in (1, 2, 3)] == [[6, 7], [1], [4]]
        is_applied((await store.commit([note(2, inbox_settled=[1], dead_letters=[letter("x")])]))[0])
        assert await numbers(store, 2) == []


async def a_note_without_the_epoch_is_fenced(place: Place) -> None:
    async with opened(place) as old:
        await applied(old, created(), note(inbox_added=[message(1)]))
        place.unlock()
        async with opened(place) as new:
            (outcome,) = await old.commit([note(inbox_started=[(1, 1)], outbox_added=[outgoing(1)])])
            is_fenced(outcome, whole_store=True)
            stored = await loaded(new)

            assert (stored.inbox, stored.outbox) == ((message(1),), ())


async def one_bad_note_spoils_no_other(place: Place) -> None:
    async with opened(place) as store:
        await applied(store, created(1), created(2))
        await applied(store, note(inbox_added=[message(1)], outbox_added=[outgoing(1)], dead_letters=[letter("x")]))
        bad: list[Record] = [
            note(inbox_added=[message(1)], inbox_settled=[1]),
            note(inbox_added=[message(9), message(9)]),
            note(inbox_added=[message(2**64)]),
            note(inbox_added=[message(9, 2)]),
            note(inbox_added=[message(9, -1)]),
            note(inbox_added=[message(9, deadline_us=2**70)]),
            note(outbox_added=[outgoing(1)], steps=[StepRow("o", "n", b"b", 1)]),
            note(outbox_added=[outgoing(9, due_us=2**63)]),
            note(dead_letters=[letter("x")]),
            note(dead_letters=[letter("y"), letter("y")]),
            note(steps=[StepRow("\ud800", "n", b"b", 1)]),
            note(inbox_started=[(2**64, 1)]),
            note(progress=[ProgressRow(1, CHUNKS, 2**32, b"")]),
            note(sid=0, inbox_settled=[1]),
            turn(2, 2, mail=Mail(inbox_added=[message(1, 2)])),
        ]
        good = [note(inbox_added=[message(10 + place)]) for place in range(len(bad))]
        outcomes = await store.commit([record for pair in zip(bad, good, strict=True) for record in pair])
        for outcome in outcomes[::2]:
            is_refused(outcome, RecordRefused)
        for outcome in outcomes[1::2]:
            is_applied(outcome)
        stored = await loaded(store)

        assert [row.number for row in stored.inbox] == [1, *range(10, 10 + len(bad))]
        assert (stored.outbox, stored.steps) == ((outgoing(1),), ())
        assert (await loaded(store, 2)).row.version == 1
        assert await ids(store) == ["x"]


async def a_turn_sends_to_another_session_in_its_own_commit(place: Place) -> None:
    async with opened(place) as store:
        await applied(store, created(1), created(2))
        (outcome,) = await applied(store, turn(1, 2, mail=Mail(inbox_added=[message(1, 2), message(2, 0)])))

        assert outcome.undelivered == ()
        assert (await loaded(store, 2)).inbox == (message(1, 2),)
        assert (await loaded(store, 1)).inbox == (message(2, 1),)


async def a_message_to_a_session_that_is_gone_becomes_a_dead_letter_and_the_turn_stands(place: Place) -> None:
    async with opened(place) as store:
        await applied(store, created(1), created(2))
        await applied(store, turn(2, 2, row=row(2, lifecycle="expired")))
        lost = message(3 << 40 | 7, 2, key="k", priority=0, schema_version=2, attempts=1)
        sent = turn(1, 2, mail=Mail(inbox_added=[lost, message(8, 9), message(9, 1)]))
        (outcome,) = await applied(store, sent)
        found = await store.letters(LetterQuery())

        assert list(outcome.undelivered) == [lost.number, 8]
        assert await numbers(store) == [9]
        assert (await loaded(store)).row.version == 2
        assert len(found) == 2
        assert found[0].row == DeadLetterRow(
            id="t3-7",
            kind="message",
            reason="receiver_gone",
            message="say",
            schema_version=2,
            body=lost.body,
            at_us=sent.at_us,
            attempts=1,
            cause="s2",
            state_version=2,
            key="k",
            priority=0,
        )
        assert [(letter.sid, letter.public_id, letter.type, letter.row.id) for letter in found] == [
            (1, "public-1", "chat", "t3-7"),
            (1, "public-1", "chat", "t0-8"),
        ]


async def a_turn_creates_sessions_and_tells_them(place: Place) -> None:
    async with opened(place) as store:
        await applied(store, created(1))
        greeting = [message(1, -2), message(2, -1), message(3, -2)]
        second = created(3)
        second.mail = Mail(outbox_added=[outgoing(1)])
        record = turn(1, 2, children=[created(2), second], mail=Mail(inbox_added=greeting))
        (outcome, other) = await applied(store, record, created(4))

        assert list(outcome.children) == [2, 3]
        assert other.sid == 4
        assert len({outcome.lsn, other.lsn}) == 2
        assert await numbers(store, 2) == [2]
        assert await numbers(store, 3) == [1, 3]
        assert (await loaded(store, 3)).outbox == (outgoing(1),)
        await applied(store, turn(2, 2), turn(3, 2), turn(1, 3))


async def a_session_may_have_children_and_mail_from_its_first_turn(place: Place) -> None:
    async with opened(place) as store:
        record = created(1)
        record.children = [created(2)]
        record.mail = Mail(inbox_added=[message(1, 0), message(2, -1)])
        (outcome,) = await applied(store, record)

        assert (outcome.sid, list(outcome.children)) == (1, [2])
        assert (await numbers(store, 1), await numbers(store, 2)) == ([1], [2])


async def a_turn_whose_child_is_refused_leaves_nothing_behind(place: Place) -> None:
    async with opened(place) as store:
        await applied(store, created(1), created(2))
        await applied(store, note(inbox_added=[message(1)]))
        mail = Mail(inbox_settled=[1], outbox_added=[outgoing(1)])
        renamed = row(1, name="other")
        taken = turn(1, 2, row=renamed, children=[created(5), created(6, name="name-2")], mail=mail)
        doubled = turn(1, 2, children=[created(5), created(6)], mail=Mail(inbox_added=[message(1, -1)]))
        nested = turn(1, 2, children=[turn(0, 1, created=row(5), children=[created(6)])])
        outcomes = await store.commit([taken, created(7), doubled, nested])

        is_refused(outcomes[0], NameTaken)
        is_applied(outcomes[1])
        is_refused(outcomes[2], RecordRefused)
        is_refused(outcomes[3], RecordRefused)
        stored = await loaded(store)
        assert (stored.row.version, stored.row.name, stored.inbox, stored.outbox) == (1, "name-1", (message(1),), ())
        for number in (5, 6):
            assert await store.load(ByPublicId(f"public-{number}"), WINDOWS) is None
        await applied(store, turn(1, 2, children=[created(5), created(6)], mail=mail))


async def a_stale_turn_leaves_its_mail_alone(place: Place) -> None:
    async with opened(place) as store:
        await applied(store, created(1), note(inbox_added=[message(1)]))
        mail = Mail(inbox_settled=[1], outbox_added=[outgoing(1)], dead_letters=[letter("x")])
        (outcome,) = await store.commit([turn(1, 3, mail=mail, children=[created(2)])])
        is_fenced(outcome, whole_store=False)
        stored = await loaded(store)

        assert (stored.inbox, stored.outbox) == ((message(1),), ())
        assert await ids(store) == []
        assert await store.load(ByPublicId("public-2"), WINDOWS) is None


async def sessions_with_waiting_mail_are_listed(place: Place) -> None:
    async with opened(place) as store:
        await applied(store, *(created(number) for number in range(1, 8)))
        assert list(await store.mail_waits(0, 10)) == []
        for sid in (6, 2, 4):
            await applied(store, note(sid, inbox_added=[message(10 * sid, sid), message(10 * sid + 1, sid)]))
        for sid in (2, 5, 3):
            await applied(store, note(sid, outbox_added=[outgoing(sid)]))
        await applied(store, note(7, steps=[StepRow("o", "n", b"b", 1)], dead_letters=[letter("x")]))
        await applied(store, turn(4, 2, row=row(4, lifecycle="expired")))
        everyone = [(sid, f"public-{sid}") for sid in (2, 3, 5, 6)]

        assert list(await store.mail_waits(0, 10)) == everyone
        assert list(await store.mail_waits(0, 2)) == everyone[:2]
        assert list(await store.mail_waits(3, 2)) == everyone[2:]
        assert list(await store.mail_waits(6, 2)) == []
        await applied(store, note(2, inbox_settled=[20, 21]), note(5, outbox_settled=[5]))
        assert list(await store.mail_waits(0, 10)) == [everyone[0], everyone[1], everyone[3]]


async def dead_letters_are_listed_found_and_dropped(place: Place) -> None:
    async with opened(place) as store:
        await applied(store, created(1), created(2))
        full = DeadLetterRow("t1-1", "outgoing", "why", "text", 2, b"b", 3, 4, "ValueError", 5, "k", 2)
        await applied(store, note(1, dead_letters=[full]), note(2, dead_letters=[letter("b"), letter("c")]))
        await applied(store, turn(1, 2, mail=Mail(dead_letters=[letter("d")])))
        found = await store.letters(LetterQuery())

        assert [stored.row.id for stored in found] == ["t1-1", "b", "c", "d"]
        assert [stored.place for stored in found] == sorted({stored.place for stored in found})
        assert (found[0].sid, found[0].public_id, found[0].type, found[0].row) == (1, "public-1", "chat", full)
        assert await ids(store, limit=2) == ["t1-1", "b"]
        assert await ids(store, after=found[1].place) == ["c", "d"]
        assert await ids(store, sid=2) == ["b", "c"]
        assert await ids(store, sid=2, after=found[1].place, limit=1) == ["c"]
        assert await store.letter("c") == found[2]
        assert await store.letter("e") is None
        await applied(store, note(1, dead_letters_dropped=["d", "e"]))
        assert await ids(store) == ["t1-1", "b", "c"]
        assert await store.letter("d") is None
        await applied(store, note(1, dead_letters=[letter("f")]))
        assert await ids(store, after=found[3].place) == ["f"]


async def a_dead_letter_is_redriven_in_one_note(place: Place) -> None:
    async with opened(place) as store:
        await applied(store, created(1), note(dead_letters=[letter("x")]))
        redriven = note(dead_letters_dropped=["x"], inbox_added=[message(5)])
        first, second = await store.commit([redriven, redriven])

        is_applied(first)
        assert isinstance(second, Refused)
        assert await ids(store) == []
        assert await numbers(store) == [5]


MAIL_CHECKS: tuple[Check, ...] = (
    a_note_outlives_its_store,
    a_session_without_mail_loads_none,
    a_turn_settles_what_it_ran_and_adds_what_it_sends,
    a_mark_and_a_delay_change_nothing_else,
    progress_is_replaced_and_dropped_and_needs_its_row,
    within_a_batch_what_comes_later_is_later,
    steps_are_kept_by_owner_and_name,
    nobody_touches_the_mail_of_another,
    a_note_adds_to_an_active_inbox_of_its_generation_only,
    a_note_without_the_epoch_is_fenced,
    one_bad_note_spoils_no_other,
    a_turn_sends_to_another_session_in_its_own_commit,
    a_message_to_a_session_that_is_gone_becomes_a_dead_letter_and_the_turn_stands,
    a_turn_creates_sessions_and_tells_them,
    a_session_may_have_children_and_mail_from_its_first_turn,
    a_turn_whose_child_is_refused_leaves_nothing_behind,
    a_stale_turn_leaves_its_mail_alone,
    sessions_with_waiting_mail_are_listed,
    dead_letters_are_listed_found_and_dropped,
    a_dead_letter_is_redriven_in_one_note,
)

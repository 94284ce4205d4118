"""The committed image: when it wants a snapshot, and what a snapshot leaves of the tail."""

from typing import Any

from salon_persistence.image import TAIL_BYTES_MIN, TAIL_TURNS_MAX, SessionImage
from salon_persistence.records import LogDelta, TurnRecord


def commit(image: SessionImage, size: int) -> None:
    image.apply(TurnRecord(sid=1, version=image.version + 1, state={"text": bytes(size)}))


def turns_until_wanted(image: SessionImage, size: int) -> int:
    count = 0
    while not image.wants_snapshot:
        commit(image, size)
        count += 1
    return count


def test_small_turns_are_snapshotted_by_their_number() -> None:
    assert turns_until_wanted(SessionImage(), 10) == TAIL_TURNS_MAX


def test_large_turns_are_snapshotted_when_they_outweigh_the_last_snapshot() -> None:
    image = SessionImage()
    assert turns_until_wanted(image, 10_000) == TAIL_BYTES_MIN // 10_000 + 1
    image.snapshotted(image.snapshot(1, {}), {})
    assert image.snapshot_bytes == 10_000
    assert turns_until_wanted(image, 10_000) == TAIL_BYTES_MIN // 10_000 + 1
    image.state["large"] = bytes(100_000)
    image.snapshotted(image.snapshot(1, {}), {})

    assert turns_until_wanted(image, 10_000) == 2 * 110_000 // 10_000 + 1


def test_turns_beside_a_snapshot_do_not_bring_the_next_one_nearer() -> None:
    image = SessionImage()
    counts: list[int] = []
    for _ in range(10):
        counts.append(turns_until_wanted(image, 600))
        snapshot = image.snapshot(1, {})
        for _ in range(3):
            commit(image, 600)
        image.snapshotted(snapshot, {})

    assert counts[1:] == [counts[0] - 3] * 9


def spoken(image: SessionImage, **changes: Any) -> None:
    record = TurnRecord(sid=1, version=image.version + 1, logs=(LogDelta("lines", 0, 8, **changes),))
    image.apply(record)


def test_what_is_redacted_while_a_snapshot_is_written_stays_redacted() -> None:
    image = SessionImage()
    spoken(image, items=[(number, b"line") for number in range(8)])
    snapshot = image.snapshot(1, {})
    spoken(image, redactions={2: b"gone"})
    image.snapshotted(snapshot, {"lines": 1})
    (page,) = snapshot.pages

    assert dict(image.logs["lines"].living(page))[2] == b"gone"
    (mended,) = image.snapshot(1, {"lines": [page]}).pages
    assert dict(mended.items)[2] == b"gone"


def test_what_is_redacted_beside_a_snapshot_that_fails_is_in_the_next() -> None:
    image = SessionImage()
    spoken(image, items=[(number, b"line") for number in range(8)])
    image.snapshot(1, {})
    spoken(image, redactions={2: b"gone"})
    snapshot = image.snapshot(1, {})
    image.snapshotted(snapshot, {"lines": 1})

    assert dict(snapshot.pages[0].items)[2] == b"gone"
    assert image.logs["lines"].redactions == snapshot.logs["lines"].redactions == {}

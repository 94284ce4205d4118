"""What may be stored: values, and records with every part of them."""

from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from salon_persistence.records import (
    CHECKPOINT,
    CHUNKS,
    DeadLetterRow,
    InboxRow,
    LedgerEntry,
    LogDelta,
    LogPage,
    LogShape,
    OutboxRow,
    ProgressRow,
    Reminder,
    SessionRow,
    SnapshotRecord,
    StepRow,
    TurnRecord,
)

unhurried = settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
"""A machine with much else to do is no failure."""

letters = st.characters(codec="utf-8")
texts = st.text(letters, max_size=12)
keys = st.text(letters, min_size=1, max_size=8)
blobs = st.binary(max_size=24)
small = st.integers(0, 2**16)
times_us = st.integers(0, 2**53)
signed = st.integers(-(2**63), 2**63 - 1)
maybe_text = st.none() | texts
maybe_us = st.none() | times_us

DAY = timedelta(days=2)
"""So that no zone pushes a moment out of the calendar."""

offsets = st.integers(-86_399_999_999, 86_399_999_999).map(lambda us: timezone(timedelta(microseconds=us)))
zones = st.none() | st.just(UTC) | offsets | st.sampled_from(["Europe/Berlin", "America/New_York", "UTC"]).map(ZoneInfo)


def in_zone(moment: datetime, zone: tzinfo | None, fold: int) -> datetime:
    return moment.replace(tzinfo=zone, fold=fold)


def in_fixed_zone(moment: time, zone: tzinfo | None) -> time:
    return moment.replace(tzinfo=zone, fold=1)


moments = st.builds(
    in_zone,
    st.datetimes(datetime.min + DAY, datetime.max - DAY),  # noqa: DTZ901  # The zone comes with the next argument.
    zones,
    st.sampled_from([0, 1]),
)
fixed_zones = st.none() | st.just(UTC) | offsets

hashable: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    texts,
    blobs,
    moments,
    st.dates(),
    st.builds(in_fixed_zone, st.times(), fixed_zones),
    st.timedeltas(),
    st.uuids(),
    st.decimals(allow_nan=False),
    st.complex_numbers(allow_nan=False),
)
frozen = st.recursive(
    hashable, lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3), max_leaves=6
)
values: st.SearchStrategy[Any] = st.recursive(
    hashable | st.binary(max_size=6).map(bytearray),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(frozen, inner, max_size=3),
        st.sets(frozen, max_size=3),
        st.frozensets(frozen, max_size=3),
    ),
    max_leaves=12,
)

items = st.lists(st.tuples(small, blobs), max_size=3).map(tuple)
cuts = st.lists(st.tuples(small, small), max_size=2).map(tuple)
numbered = st.dictionaries(keys, small, max_size=2)
redactions = st.dictionaries(small, blobs, max_size=2)
states = st.dictionaries(keys, blobs, max_size=3)

rows = st.builds(
    SessionRow,
    uid=st.binary(min_size=16, max_size=16),
    public_id=keys,
    type=keys,
    tenant=texts,
    name=maybe_text,
    user_id=maybe_text,
    conversation_id=maybe_text,
    device_id=maybe_text,
    generation=small,
    lifecycle=st.sampled_from(["active", "expired", "revoked", "deleted"]),
    reason=maybe_text,
    owner_epoch=small,
    deadline_us=maybe_us,
    created_us=times_us,
    activity_us=times_us,
    facts=blobs,
)
deltas = st.builds(LogDelta, keys, small, small, items, cuts, redactions, numbered)
reminders = st.builds(Reminder, keys, maybe_us, maybe_us, texts, texts, small, blobs)
inbox_rows = st.builds(
    InboxRow, small, small, small, keys, small, blobs, maybe_text, blobs, texts, maybe_us, times_us, small, maybe_us
)
progress = st.builds(ProgressRow, small, st.sampled_from([CHECKPOINT, CHUNKS]), small, blobs)
steps = st.builds(StepRow, keys, keys, blobs, times_us)
outbox_rows = st.builds(OutboxRow, small, keys, keys, small, blobs, small, maybe_us)
dead_letters = st.builds(
    DeadLetterRow,
    keys,
    st.sampled_from(["message", "outgoing"]),
    texts,
    keys,
    small,
    blobs,
    times_us,
    small,
    texts,
    small,
    maybe_text,
    small,
)
ledger = st.builds(LedgerEntry, keys, keys, times_us, maybe_text, blobs, small, small, blobs, small, small, texts)


def some(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(strategy, max_size=2).map(tuple)


turns = st.builds(
    TurnRecord,
    sid=st.integers(1, 2**62),
    version=st.integers(1, 2**62),
    generation=small,
    schema_version=st.integers(0, 2**32 - 1),
    turn=texts,
    at_us=times_us,
    whole=st.booleans(),
    state=states,
    logs=some(deltas),
    created=st.none() | rows,
    row=st.none() | rows,
    activity_us=st.none() | signed,
    deadline_us=st.none() | signed,
    reminders=some(reminders),
    ledger=some(ledger),
)
shapes = st.builds(LogShape, small, small, small, cuts, redactions)
pages = st.builds(LogPage, keys, st.lists(st.tuples(small, blobs), min_size=1, max_size=4).map(tuple), numbered)
snapshots = st.builds(
    SnapshotRecord,
    sid=st.integers(1, 2**62),
    version=st.integers(1, 2**62),
    lsn=st.just(0),
    schema_version=st.integers(0, 2**32 - 1),
    state=states,
    logs=st.dictionaries(keys, shapes, max_size=2),
    forgotten=times_us,
)

"""Counters: one number for everything that was done, refused or dropped."""

from __future__ import annotations


class Counters:
    """Plain integers; read them with `shown`."""

    __slots__ = (
        "activations",
        "activations_failed",
        "activations_refused",
        "commits",
        "created",
        "dead_lettered",
        "dead_letters_dropped",
        "dead_letters_redriven",
        "delivered",
        "delivery_failures",
        "dropped",
        "fenced",
        "keys_joined",
        "keys_recalled",
        "loop_stalls",
        "mailbox_full",
        "messages_restored",
        "not_applied",
        "outcome_unknown",
        "outgoing_dead_lettered",
        "over_capacity",
        "rate_limited",
        "reloads",
        "sessions_parked",
        "snapshots",
        "snapshots_failed",
        "turned_away",
        "turns_done",
        "turns_failed",
        "turns_interrupted",
        "turns_refused",
        "turns_retried",
        "turns_started",
        "turns_stopped",
        "turns_stuck",
        "turns_superseded",
        "turns_timed_out",
        "turns_unchanged",
    )

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, 0)

    def shown(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in self.__slots__}

    activations: int
    activations_failed: int
    activations_refused: int
    commits: int
    created: int
    dead_lettered: int
    dead_letters_dropped: int
    dead_letters_redriven: int
    delivered: int
    delivery_failures: int
    dropped: int
    fenced: int
    keys_joined: int
    keys_recalled: int
    loop_stalls: int
    mailbox_full: int
    messages_restored: int
    not_applied: int
    outcome_unknown: int
    outgoing_dead_lettered: int
    over_capacity: int
    rate_limited: int
    reloads: int
    sessions_parked: int
    snapshots: int
    snapshots_failed: int
    turned_away: int
    turns_done: int
    turns_failed: int
    turns_interrupted: int
    turns_refused: int
    turns_retried: int
    turns_started: int
    turns_stopped: int
    turns_stuck: int
    turns_superseded: int
    turns_timed_out: int
    turns_unchanged: int

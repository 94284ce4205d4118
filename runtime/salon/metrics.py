"""Counters: one number for everything that was done, refused or dropped."""

from __future__ import annotations


class Counters:
    """Plain integers; read them with `shown`."""

    __slots__ = (
        "activations",
        "commits",
        "created",
        "dead_letters_dropped",
        "dead_letters_redriven",
        "delivered",
        "delivery_failures",
        "fenced",
        "mailbox_full",
        "not_applied",
        "outcome_unknown",
        "outgoing_dead_lettered",
        "reloads",
        "snapshots",
        "snapshots_failed",
        "turns_done",
        "turns_failed",
        "turns_refused",
        "turns_started",
        "turns_stuck",
        "turns_timed_out",
        "turns_unchanged",
    )

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, 0)

    def shown(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in self.__slots__}

    activations: int
    commits: int
    created: int
    dead_letters_dropped: int
    dead_letters_redriven: int
    delivered: int
    delivery_failures: int
    fenced: int
    mailbox_full: int
    not_applied: int
    outcome_unknown: int
    outgoing_dead_lettered: int
    reloads: int
    snapshots: int
    snapshots_failed: int
    turns_done: int
    turns_failed: int
    turns_refused: int
    turns_started: int
    turns_stuck: int
    turns_timed_out: int
    turns_unchanged: int

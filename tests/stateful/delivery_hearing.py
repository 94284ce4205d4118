"""What a caller may hear of a message, and what of it is true for ever."""

NOTHING = "nothing"
FATES = {
    "done": "done",
    "Refused": "refused",
    "TurnStopped": "stopped",
    "TurnInterrupted": "interrupted",
    "TurnSuperseded": "superseded",
    "TurnFailed": NOTHING,
    "TurnTimeout": NOTHING,
    "NotApplied": NOTHING,
}
"""What a caller hears, and what it says for ever. Whatever else he hears says nothing about the turn."""
NOT_ACCEPTED = {"SessionBusy", "StoreUnavailable", "IdempotencyConflict", "Draining", "RuntimeNotRunning"}
LEAVES_TRACES = {"done", "stopped", "interrupted"}
MAY_BE_HEARD = {
    "stop": {"TurnStopped"},
    "interrupt": {"TurnInterrupted"},
    "rollback": {"TurnSuperseded"},
    "end of life": {"TurnInterrupted", "Draining", "RuntimeNotRunning", "OutcomeUnknown"},
    "trouble": {"OutcomeUnknown", "StoreUnavailable", "TurnFailed", "TurnInterrupted"},
    "bad answers": {"NotApplied"},
    "no receipt": {"NotApplied"},
    "conflict": {"IdempotencyConflict"},
    "reject": {"SessionBusy"},
    "timeout": {"TurnTimeout", "TurnFailed", "NotApplied"},
    "refused": {"Refused"},
    "raised": {"TurnFailed", "NotApplied"},
    "well": {"done"},
}
"""By what has happened to a message or was asked of it."""


def possible(why: set[str], *, has_receipt: bool) -> set[str]:
    """Names of errors, or `done`, for a message to which all this has happened."""
    in_doubt = not has_receipt and why & {"end of life", "trouble"}
    reasons = why | ({"no receipt"} if in_doubt else set[str]())
    return set[str]().union(*(MAY_BE_HEARD[reason] for reason in reasons))

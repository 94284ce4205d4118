"""Settings of one Runtime: safe defaults, each with its unit in its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from salon.errors import ConfigurationError

Durability: TypeAlias = Literal["full", "normal", "memory"]
PREFIX = "SALON_"


class Settings(BaseModel):
    """Durations are seconds, sizes are bytes. Frozen: a running Runtime does not change under its sessions."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)

    turn_timeout_s: float = Field(default=300, gt=0)
    """Seconds a message may take to queue, run and commit, unless the caller says otherwise."""
    stuck_after_s: float = Field(default=30, gt=0)
    """Seconds past its deadline after which a turn that has not returned is reported."""
    tick_s: float = Field(default=0.05, gt=0)
    """Seconds between looks at the deadlines: how late a timeout may be."""
    mailbox_messages_max: int = Field(default=64, ge=1)
    """Messages that may wait in one session; one more is MailboxFull."""
    mailbox_bytes_max: int = Field(default=8 * 1024 * 1024, ge=1)
    """Bytes that may wait in one session; an empty mailbox takes any message within `message_bytes_max`."""
    mailbox_age_max_s: float = Field(default=900, gt=0)
    """Seconds that the oldest waiting message of a session may have waited when one more comes."""
    messages_max: int = Field(default=100_000, ge=1)
    """Messages that may wait in all sessions; one more is CapacityExceeded."""
    messages_bytes_max: int = Field(default=256 * 1024 * 1024, ge=1)
    """Bytes that may wait in all sessions; one message is admitted when nothing waits."""
    gate_bytes_max: int = Field(default=64 * 1024 * 1024, ge=1)
    """Bytes that may wait for the store when a message is admitted; turns that were accepted before may add theirs."""
    sessions_max: int = Field(default=1_000_000, ge=1)
    """Active sessions of the store; `create` of one more is CapacityExceeded. Turns that create at the same time may
    exceed it by as many."""
    concurrent_turns_max: int = Field(default=1000, ge=1)
    """Turns that may run at once, over all sessions; one that waits for an ask of its own does not count."""
    rate_per_session: float | None = Field(default=None, gt=0)
    """Messages per second that one session takes in the long run; None: as fast as they come."""
    rate_per_user: float | None = Field(default=None, gt=0)
    """Messages per second that all sessions of one user take in the long run; None: as fast as they come."""
    rate_burst: int = Field(default=10, ge=1)
    """Messages that may come at once before either rate is felt."""
    message_bytes_max: int = Field(default=1024 * 1024, ge=1)
    """Encoded size of one message; a larger one is PayloadTooLarge."""
    state_bytes_max: int = Field(default=16 * 1024 * 1024, ge=1)
    """Encoded size of one session's state, without the items of its logs; a turn that leaves more is StateInvalid."""
    idle_timeout_s: float = Field(default=3600, gt=0)
    """Seconds after its last turn at which a session is due; recorded and shown in `info`."""
    absolute_ttl_s: float = Field(default=604800, gt=0)
    """Seconds after its creation at which a session is due; recorded and shown in `info`."""
    activity_lag_s: float = Field(default=60, ge=0)
    """Seconds by which the stored time of the last turn may lag behind."""
    commit_stall_s: float = Field(default=5, gt=0)
    """Seconds a batch may take before new messages are refused with StoreUnavailable."""
    probe_interval_s: float = Field(default=1, gt=0)
    """Seconds between looks whether an unavailable store works again."""
    interrupt_grace_s: float = Field(default=2, ge=0)
    """Seconds that an interrupted or stopped turn may go on inside `turn.grace()`."""
    crash_budget: int = Field(default=5, ge=1)
    """Failed turns within `crash_window_s` that park a session."""
    crash_window_s: float = Field(default=60, gt=0)
    """Seconds for which a failed turn counts."""
    parked_first_s: float = Field(default=1, gt=0)
    """Seconds that a session is parked for the first time, at most; doubled until one of its turns succeeds."""
    parked_max_s: float = Field(default=60, gt=0)
    """Seconds that a session is parked at most, however often it was."""
    breaker_failures: int = Field(default=10, ge=1)
    """Activations of one session type that fail in a row within `breaker_window_s`, until no more are tried."""
    breaker_window_s: float = Field(default=30, gt=0)
    """Seconds for which a failed activation counts."""
    breaker_open_s: float = Field(default=10, gt=0)
    """Seconds until one activation of the type is tried again."""
    idempotency_age_s: float = Field(default=86400, gt=0)
    """Seconds for which the outcome of a message with a key is kept, and the same key gives the same outcome."""
    idempotency_records_max: int = Field(default=10_000, ge=1)
    """Keys with younger outcomes that one session keeps; one more is CapacityExceeded.
    As many outcomes without a key are kept, the newest."""
    replay_events_max: int = Field(default=10_000, ge=1)
    """Chunks of one turn that are kept for readers who come back."""
    replay_bytes_max: int = Field(default=1024 * 1024, ge=1)
    """Bytes of one turn's chunks that are kept for readers who come back."""
    replay_age_s: float = Field(default=300, ge=0)
    """Seconds after its end for which the chunks of a turn are kept."""
    replay_ended_max: int = Field(default=10_000, ge=1)
    """Ended turns whose chunks are kept, over all sessions."""
    replay_ended_bytes_max: int = Field(default=64 * 1024 * 1024, ge=1)
    """Bytes of chunks of ended turns that are kept, over all sessions."""
    delivery_first_s: float = Field(default=1, gt=0)
    """Seconds before a failed delivery is tried again for the first time, at most; doubled at each try."""
    delivery_max_s: float = Field(default=300, gt=0)
    """Seconds between two tries of a delivery, at most."""
    delivery_attempts_max: int = Field(default=20, ge=1)
    """Tries of one delivery; after the last one it is a dead letter."""
    delivery_timeout_s: float = Field(default=30, gt=0)
    """Seconds that one try of a delivery may take."""
    delivery_concurrent_max: int = Field(default=64, ge=1)
    """Sessions that deliver at once; each delivers one thing at a time."""
    loop_stall_s: float = Field(default=1, gt=0)
    """Seconds, but at least four ticks, for which something may block the event loop before it is reported, with the
    stack of the loop. The storage thread looks, so that nobody does where there is none: over `memory://`."""
    drain_deadline_s: float = Field(default=30, gt=0)
    """Seconds that `close` waits for accepted turns before it cancels them."""
    durability: Durability = "full"
    """`normal` survives SIGKILL, not power loss; `memory` opens the gate before the write."""
    context_vars: Sequence[ContextVar[Any]] = ()
    """Carried over from the asker into the turn; nothing else is."""

    @classmethod
    def from_env(cls, mapping: Mapping[str, str], /) -> Self:
        """Reads SALON_TURN_TIMEOUT_S and so on from `mapping`, such as `os.environ`.

        Raises:
            ConfigurationError: A SALON_ name that is no setting, or a value out of its bounds.
        """
        given = {name: value for name, value in mapping.items() if name.startswith(PREFIX)}
        known = {PREFIX + field.upper(): field for field in cls.model_fields if field != "context_vars"}
        unknown = sorted(given.keys() - known.keys())
        if unknown:
            raise ConfigurationError(f"No such setting: {', '.join(unknown)}.")
        try:
            return cls.model_validate({known[name]: value for name, value in given.items()})
        except ValidationError as error:
            wrong = "; ".join(f"{PREFIX}{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors())
            raise ConfigurationError(wrong) from None

    def shown(self) -> dict[str, object]:
        """For the log: every setting, without secrets."""
        return self.model_dump(exclude={"context_vars"})

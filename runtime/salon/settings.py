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

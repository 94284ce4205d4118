"""Events: what a turn tells those who read it, and how it ended.

The sequence is Accepted, the chunks of an attempt, Restarted and the chunks of the next one if there is a next one,
then one outcome. All of them are pydantic models with a `kind`, and can be parsed back from JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Generic, Literal, TypeAlias, cast

from pydantic import BaseModel, Field, JsonValue
from typing_extensions import TypeAliasType, TypeVar

from salon import errors
from salon.cursor import end_cursor
from salon.errors import Refused, SalonError, TurnInterrupted, TurnStopped, TurnSuperseded
from salon_persistence import codec

R = TypeVar("R", default=Any)
R_co = TypeVar("R_co", covariant=True, default=Any)

TurnStatus: TypeAlias = Literal[
    "queued", "running", "done", "refused", "failed", "stopped", "interrupted", "superseded", "dead_lettered"
]


class ErrorInfo(BaseModel, frozen=True):
    """A SalonError as data."""

    name: str
    """Class of the error, such as `TurnTimeout`."""
    message: str
    """Its text, which holds nothing of what somebody said."""
    retryable: bool
    """Nothing was applied, and the same call may succeed later, unchanged."""
    retry_after_s: float | None = None
    """Seconds after which trying again makes sense; None when nobody knows."""
    code: str | None = None
    """Of a Refused."""
    detail: JsonValue = None
    """Of a Refused."""

    @classmethod
    def of(cls, error: SalonError) -> ErrorInfo:
        """The data of an error; of a class that is not ours, under the name of the nearest one that is."""
        return cls(
            name=_public_name(type(error)),
            message=str(error),
            retryable=error.retryable,
            retry_after_s=error.retry_after_s,
            code=error.code if isinstance(error, Refused) else None,
            detail=codec.unpack(codec.pack(error.detail)) if isinstance(error, Refused) else None,
        )

    def error(self) -> SalonError:
        """An error to raise. It has the class and the text, and of further fields those of a Refused."""
        if self.code is not None:
            return Refused(self.code, self.detail)
        public = getattr(errors, self.name, None)
        if not isinstance(public, type) or not issubclass(public, SalonError) or public is Refused:
            public = SalonError
        error = public.__new__(public, self.message)  # their own constructors make the text from fields
        error.retryable = self.retryable
        error.retry_after_s = self.retry_after_s
        return error


def _public_name(kind: type[BaseException]) -> str:
    names: Iterator[str] = (base.__name__ for base in kind.__mro__ if getattr(errors, base.__name__, None) is base)
    return next(names)


def own_error(error: SalonError) -> SalonError:
    """For one caller: an instance that is raised twice gathers the tracebacks of both."""
    if isinstance(error, Refused):
        return error.own()
    own = type(error).__new__(type(error), *error.args)
    own.__dict__.update(error.__dict__)
    own.__cause__ = error.__cause__
    return own


class _Event(BaseModel, frozen=True):
    id: str
    """Opaque cursor: serves as SSE `id:` and as `after=`."""
    turn: str
    """Of a message that was merged into another turn: that turn, from there on."""


class Accepted(_Event, frozen=True):
    """The message is kept, and waits or runs. Told again when it is merged into another turn later."""

    kind: Literal["accepted"] = "accepted"
    position: int
    """How many messages were before it when it was accepted."""
    merged_into: str | None = None
    """The turn that answers for this message too; its events follow."""


class Chunk(_Event, frozen=True):
    """Something that the handler has emitted: provisional until the outcome."""

    kind: Literal["chunk"] = "chunk"
    attempt: int
    """From 1."""
    seq: int
    """From 1 in each attempt, without gaps."""
    data: JsonValue


class Restarted(_Event, frozen=True):
    """Forget the chunks so far: another attempt begins."""

    kind: Literal["restarted"] = "restarted"
    attempt: int


class Done(_Event, Generic[R_co], frozen=True):
    """The turn is committed."""

    kind: Literal["done"] = "done"
    reply: R_co


class Stopped(_Event, frozen=True):
    """Somebody called `stop`."""

    kind: Literal["stopped"] = "stopped"


class Interrupted(_Event, frozen=True):
    """A later message, or a crash, cut the turn; what it had checkpointed is kept."""

    kind: Literal["interrupted"] = "interrupted"


class Superseded(_Event, frozen=True):
    """A later message took its place, as if it had never run."""

    kind: Literal["superseded"] = "superseded"


class Failed(_Event, frozen=True):
    """It was refused, failed, was too late or became a dead letter; nothing was applied."""

    kind: Literal["failed"] = "failed"
    error: ErrorInfo


# An alias of a union of models cannot be subscripted at run time, unless it is one that has a name.
Outcome = TypeAliasType(
    "Outcome",
    Annotated[Done[R] | Stopped | Interrupted | Superseded | Failed, Field(discriminator="kind")],
    type_params=(R,),
)
TurnEvent = TypeAliasType(
    "TurnEvent",
    Annotated[
        Accepted | Chunk | Restarted | Done[R] | Stopped | Interrupted | Superseded | Failed,
        Field(discriminator="kind"),
    ],
    type_params=(R,),
)

_CUTS: Mapping[type[SalonError], type[Stopped | Interrupted | Superseded]] = MappingProxyType(
    {TurnStopped: Stopped, TurnInterrupted: Interrupted, TurnSuperseded: Superseded}
)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a turn ended, for all who want to know. Made by `done` and `failed`.

    Events and errors are made anew for each reader, and a reply is copied, so that nobody shares anything.
    """

    turn: str
    status: TurnStatus
    error: SalonError | None = None
    """What `ask` raises; None when it returns `reply`."""
    reply: Any = None
    by_value: Callable[[Any], Any] | None = None
    """Copies the reply; None when replies of this kind cannot change."""
    reply_bytes: int = 0
    """About as much memory as the reply takes."""
    version: int | None = None
    """Of the session, as the turn's commit has left it; None when it has committed nothing."""

    @classmethod
    def done(
        cls,
        turn: str,
        reply: Any,
        *,
        by_value: Callable[[Any], Any] | None = None,
        reply_bytes: int = 0,
        version: int | None = None,
    ) -> Ending:
        return cls(turn, "done", None, reply, by_value, reply_bytes, version)

    @classmethod
    def failed(
        cls, turn: str, error: SalonError, *, status: TurnStatus | None = None, version: int | None = None
    ) -> Ending:
        """Any end but a reply: the error says which. `status` only where it says something else: a dead letter."""
        return cls(turn, status or _status(error), error, version=version)

    @property
    def outcome(self) -> Outcome[Any]:
        """The last event, for one reader."""
        place = end_cursor(self.turn)
        if self.error is None:
            return Done(id=place, turn=self.turn, reply=self._own_reply())
        for kind, event in _CUTS.items():
            if isinstance(self.error, kind):
                return event(id=place, turn=self.turn)
        return Failed(id=place, turn=self.turn, error=ErrorInfo.of(self.error))

    def result(self) -> Any:
        """The reply for one caller; raises what `ask` raises."""
        if self.error is not None:
            raise own_error(self.error)
        return self._own_reply()

    def _own_reply(self) -> Any:
        return self.reply if self.by_value is None else self.by_value(self.reply)


def _status(error: SalonError) -> TurnStatus:
    if isinstance(error, Refused):
        return "refused"
    for kind, event in _CUTS.items():
        if isinstance(error, kind):
            return cast(TurnStatus, event.model_fields["kind"].default)
    return "failed"

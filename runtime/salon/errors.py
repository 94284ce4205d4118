"""The public errors: one base, flat, each says whether asking again can help."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, Literal

from pydantic import JsonValue

from salon_persistence import codec

if TYPE_CHECKING:
    from salon.events import Outcome
    from salon.message import Message
    from salon.receipt import Receipt


class SalonError(Exception):
    """Base of every error that salon raises. Its text names sessions, turns and bounds, never what somebody said."""

    retryable: bool = False
    """True: nothing was applied, and the same call may succeed later, unchanged."""
    retry_after_s: float | None = None
    """Seconds after which trying again makes sense; None when nobody knows."""
    message: Message[Any] | None = None
    """The one that was not delivered."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Copied and pickled as it is: an error that makes its text from fields cannot be made from its text again."""
        return _remade, (type(self), self.args), self.__dict__


class DeadLetterNotFound(SalonError, LookupError):
    """No dead letter has this id: it never was, was sent again or dropped, or somebody does so right now."""

    def __init__(self) -> None:
        super().__init__("No such dead letter.")


class SessionNotFound(SalonError, LookupError, ValueError):
    """Missing or foreign: the two cannot be told apart."""

    def __init__(self) -> None:
        super().__init__("No such session.")


class InvalidSessionId(SalonError):
    """The text was never a session id of ours."""

    def __init__(self) -> None:
        super().__init__("This is not a session id: it has 22 letters, digits, '-' or '_' behind 's_'.")


class NameTaken(SalonError):
    """Another live session of this tenant and type has the name; `get_or_create` reaches it."""


class MailboxFull(SalonError):
    """The session has as much waiting as its mailbox holds, or is far behind; this one was not accepted.

    `depth` messages wait, of `waiting_bytes` together, the oldest for `oldest_age_s`; None where nobody looked.
    """

    retryable = True

    def __init__(
        self,
        depth: int,
        waiting_bytes: int | None = None,
        oldest_age_s: float | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        size = "" if waiting_bytes is None else f" They have {waiting_bytes} bytes."
        super().__init__(f"The mailbox is full: {depth} messages wait{_for(oldest_age_s)}.{size}")
        self.depth, self.waiting_bytes, self.oldest_age_s = depth, waiting_bytes, oldest_age_s
        self.retry_after_s = retry_after_s


class PayloadTooLarge(SalonError):
    """The message is larger than `Settings.message_bytes_max`; it was not accepted."""

    def __init__(self, what: str, size_bytes: int, bytes_max: int) -> None:
        super().__init__(f"{what} has {size_bytes} bytes; the bound is {bytes_max}.")
        self.size_bytes, self.bytes_max = size_bytes, bytes_max


class MessageInvalid(SalonError):
    """A field of the message was changed to something that is not valid, or cannot be sent; it was not accepted."""


class NoHandler(SalonError):
    """The session's type has no handler for this class of message."""


class Refused(SalonError):
    """A handler's way to say no: the turn is rolled back, and the caller gets this very refusal.

    `detail` is for the caller, so it may hold what the error's text must not. It is copied when the refusal is made.

    Raises:
        TypeError: `detail` holds something that cannot be stored.
    """

    def __init__(self, code: str, detail: JsonValue = None) -> None:
        super().__init__(code)
        self.code = code
        self.detail: JsonValue = codec.unpack(codec.pack(detail))  # by value, as replies are

    def own(self) -> Refused:
        """For one caller: an instance that is raised twice must not carry words from one to another."""
        refused = copy(self)
        refused.detail = codec.unpack(codec.pack(self.detail))
        return refused.with_traceback(None)


class SessionBusy(SalonError):
    """The session has something to do, and the message was not to wait for it; it was not accepted.

    `depth` messages wait beside the turn that runs, the oldest for `oldest_age_s`, None when nothing waits.
    """

    retryable = True

    def __init__(self, depth: int = 0, oldest_age_s: float | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(f"The session is busy: {depth} messages wait{_for(oldest_age_s)}.")
        self.depth, self.oldest_age_s, self.retry_after_s = depth, oldest_age_s, retry_after_s


class SessionParked(SalonError):
    """The session has crashed too often and rests; the message was not accepted, what waited before still waits.

    `depth` messages wait, the oldest for `oldest_age_s`; a rest that ends by itself has its `retry_after_s`.
    """

    retryable = True

    def __init__(self, retry_after_s: float | None = None, depth: int = 0, oldest_age_s: float | None = None) -> None:
        rest = "until it is resumed" if retry_after_s is None else f"for {retry_after_s:.1f} s more"
        super().__init__(f"The session has failed too often and is parked {rest}; {depth} messages wait.")
        self.retry_after_s, self.depth, self.oldest_age_s = retry_after_s, depth, oldest_age_s


class CapacityExceeded(SalonError):
    """A bound of the whole runtime, or of a session's records, is reached; nothing was accepted.

    `setting` names the bound, whose value is `bound`; `depth` is how much of it was taken when this was refused.
    `oldest_age_s` is the age of the oldest of them, None where there is no queue.
    """

    retryable = True

    def __init__(
        self,
        setting: str,
        depth: int,
        bound: int,
        oldest_age_s: float | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(f"{setting} is {bound}, and {depth} of it are taken.")
        self.setting, self.depth, self.bound = setting, depth, bound
        self.oldest_age_s, self.retry_after_s = oldest_age_s, retry_after_s


class RateLimited(SalonError):
    """Messages of this session or user come faster than they may; this one was not accepted.

    `scope` says whose rate it is; after `retry_after_s` one message may come.
    """

    retryable = True

    def __init__(self, scope: Literal["session", "user"], retry_after_s: float) -> None:
        super().__init__(f"Messages of this {scope} come too fast; the next one may come in {retry_after_s:.3f} s.")
        self.scope: Literal["session", "user"] = scope
        self.retry_after_s = retry_after_s


class IdempotencyConflict(SalonError):
    """The key was used for a message with other content; nothing was done."""


class DeadlockError(SalonError):
    """The session that was asked waits, itself or through others, for the one that asks; it was not asked.

    `path` holds the sessions by their internal numbers, as the log names them: it begins and ends with the one that
    asked.
    """

    def __init__(self, turn: str, handler: str, path: Sequence[int]) -> None:
        names = [f"s{sid}" for sid in path]
        asked = f"its own session {names[0]}" if len(names) == 2 else f"session {names[1]}"
        super().__init__(
            f"Turn {turn} ({handler}) asks {asked}, which waits for it: {' → '.join(names)}."
            " Change self.state, or `self.turn.tell(...)` for afterwards."
        )
        self.path = tuple(path)


class TurnTimeout(SalonError):
    """The message's deadline passed; nothing was applied."""

    retryable = True


class TurnStopped(SalonError):
    """Somebody called `stop`: the turn was cut. What it had put into a checkpoint is kept."""


class TurnInterrupted(SalonError):
    """A later message, or a crash, cut the turn. What it had put into a checkpoint is kept."""


class TurnSuperseded(SalonError):
    """A later message took its place; the turn was rolled back as if it had never run."""


class ReplyTimeout(SalonError):
    """Only the waiting ended; the turn goes on."""

    retryable = True

    def __init__(self, receipt: Receipt[Any]) -> None:
        super().__init__(f"No reply of turn {receipt.turn} yet; the turn goes on.")
        self.receipt = receipt


class ReplayIncomplete(SalonError):
    """Chunks that the reader has not seen are gone; how the turn ended is not."""

    def __init__(self, outcome: Outcome[Any] | None) -> None:
        super().__init__("The chunks after this cursor are not kept any more.")
        self.outcome = outcome


class TurnFailed(SalonError):
    """The handler raised; nothing was applied. Names the class of its `__cause__`, holds nothing of its text."""

    def __init__(self, handler: str, cause: str) -> None:
        super().__init__(f"{handler} raised {cause}; nothing was applied.")


class TurnOver(SalonError):
    """A turn, its state or its logs were used after the turn had ended."""

    def __init__(self, turn: str, what: str) -> None:
        super().__init__(
            f"Turn {turn} is over; a task it started still uses {what}. Await it in the handler, or send a message."
        )


class NotApplied(SalonError):
    """The store did not take the turn; nothing was applied, and the session stands where it stood."""

    retryable = True


class OutcomeUnknown(SalonError):
    """The store cannot say whether the turn was applied; look at the session before asking again.

    With a key it is retryable: the same key brings what came of the first time. Without one it is not: a second turn
    could be applied besides the first.
    """


class StateInvalid(SalonError):
    """What the handler left in the state cannot be stored and read back as it is; nothing was applied."""


class SchemaTooNew(SalonError):
    """Written by a newer release of the host's code or of salon; left as it is."""


class Corrupt(SalonError):
    """Stored bytes do not decode; they are kept as they are."""


class Fenced(SalonError):
    """Another runtime owns the sessions now; nothing of this turn was applied."""


class StoreInUse(SalonError):
    """Another runtime, of this process or another one, owns the file."""


class StoreUnavailable(SalonError):
    """The store cannot take turns now; nothing was applied. It is probed, and resumes when it can."""

    retryable = True


class Draining(SalonError):
    """The runtime is closing and admits nothing more."""

    retryable = True


class RuntimeNotRunning(SalonError):
    """The runtime is not open: use `async with`, or `await runtime.open()`."""


class ConfigurationError(SalonError):
    """A mistake in how session types, messages or the runtime are put together."""


def _remade(kind: type[SalonError], args: tuple[Any, ...]) -> SalonError:
    return kind.__new__(kind, *args)


def _for(oldest_age_s: float | None) -> str:
    return "" if oldest_age_s is None else f", the oldest for {oldest_age_s:.1f} s"

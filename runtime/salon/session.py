"""Session: what a chatbot's author subclasses. One conversation; the object lives for one turn."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, cast, get_args, get_origin

from pydantic import BaseModel
from typing_extensions import TypeVar

from salon.conversation import ChatLine, Conversation
from salon.deliver import Deliverer, deliveries_of
from salon.delivery import Delivery
from salon.errors import ConfigurationError
from salon.mark import InterruptedTurn
from salon.message import Message, check_names
from salon.outgoing import Outgoing
from salon.receive import Handler, handlers_of
from salon.state_codec import StateCodec

if TYPE_CHECKING:
    from salon.frame import Frame
    from salon.info import SessionInfo
    from salon.turn import Turn

S0 = TypeVar("S0", bound=BaseModel, default=Conversation)
D0 = TypeVar("D0", default=None)

RESERVED = ("state", "deps", "info", "turn", "delivery")
CHANGEABLE = (list, dict, set, bytearray, deque)


@dataclass(frozen=True, slots=True)
class SessionType:
    """What a session class says of itself, worked out once when it is defined."""

    name: str
    former_names: tuple[str, ...]
    schema_version: int
    states: StateCodec[Any]
    handlers: Mapping[type[Message[Any]], Handler]
    deliveries: Mapping[type[Outgoing], Deliverer]
    listens: bool
    """`on_interrupted` has something to say."""


class Session(Generic[S0, D0]):
    """One conversation: subclass it and add handlers.

    `Session[ChatState, Deps]` names its state and what its handlers need; `Session` alone keeps a Conversation.
    An attribute set on it is an error: what should last belongs in the state. A name with a leading underscore
    is a cache, lost when the session leaves memory.

    Args (of the class statement):
        name: What is stored; default the class's name.
        former_names: Names it had in older releases.
        schema_version: >= 1; grows when the state's fields change.
    """

    __slots__ = ("__dict__", "_salon_frame")
    salon_type: ClassVar[SessionType]

    def __init_subclass__(
        cls, *, name: str | None = None, former_names: Sequence[str] = (), schema_version: int = 1
    ) -> None:
        super().__init_subclass__()
        if schema_version < 1:
            raise ConfigurationError(f"{cls.__name__}: schema_version is {schema_version}; it starts at 1.")
        _check_attributes(cls)
        check_names(cls.__name__, name, former_names)
        states: StateCodec[Any] = StateCodec(_state_of(cls))
        # Where the class stands, for classes defined inside a function.
        names = sys._getframe(1).f_locals  # pyright: ignore[reportPrivateUsage]
        deliveries = deliveries_of(cls, names)
        handlers = handlers_of(cls, names)
        cls.salon_type = SessionType(
            name=name or cls.__name__,
            former_names=tuple(former_names),
            schema_version=schema_version,
            states=states,
            handlers=handlers,
            deliveries=deliveries,
            listens=cls.on_interrupted is not Session.on_interrupted or issubclass(states.model, Conversation),
        )

    @property
    def state(self) -> S0:
        """The draft: change it as you like; it is committed with the turn, or dropped with it."""
        return cast(S0, self._salon_frame.state)

    @state.setter
    def state(self, state: S0) -> None:
        self._salon_frame.replace_state(state)

    @property
    def deps(self) -> D0:
        """What the Runtime was given for handlers to use."""
        return cast(D0, self._salon_frame.deps)

    @property
    def info(self) -> SessionInfo:
        """Who and what this session is, as of the last commit."""
        return self._salon_frame.info

    @property
    def turn(self) -> Turn:
        """The running turn."""
        return self._salon_frame.turn

    @property
    def delivery(self) -> Delivery:
        """The try that is under way; only in a `@deliver` method."""
        return self._salon_frame.delivery

    async def on_interrupted(self, turn: InterruptedTurn) -> None:
        """A turn was cut: by `stop`, by a later message, or by a crash. Runs in the commit that marks it.

        The state is as the turn's last checkpoint left it; what is added here is kept with it.
        Over a Conversation it keeps exactly what was emitted, as one line that is not complete.
        If it fails, the checkpoint alone is kept.
        """
        state: object = self.state
        shown = "".join(map(str, turn.chunks))
        if shown and isinstance(state, Conversation):
            state.messages.append(ChatLine(role="assistant", content=shown, complete=False))
            state.message_count += 1

    if TYPE_CHECKING:
        _salon_frame: Frame
    else:

        def __setattr__(self, name: str, value: object) -> None:
            if not name.startswith("_") and not isinstance(getattr(type(self), name, None), property):
                kind, state = type(self).__name__, type(self).salon_type.states.model.__name__
                raise AttributeError(
                    f"{kind} has no place for {name!r}. Put it in {state} to keep it, "
                    f"or name it '_{name}' for a cache lost at passivation."
                )
            object.__setattr__(self, name, value)


def _state_of(cls: type) -> type[BaseModel]:
    for base in cls.__mro__:
        for origin in getattr(base, "__orig_bases__", ()):
            if get_origin(origin) is Session:
                state = get_args(origin)[0]
                if not (isinstance(state, type) and issubclass(state, BaseModel)):
                    raise ConfigurationError(f"{cls.__name__}: Session[{state!r}] needs a pydantic model.")
                return state
    return Conversation


def _check_attributes(cls: type) -> None:
    """A mutable class attribute would be shared by all sessions of the class."""
    inherited = [base for base in cls.__mro__ if base not in Session.__mro__]
    for name, value in [entry for base in inherited for entry in vars(base).items()]:
        kind = type(value).__name__
        if name in RESERVED:
            raise ConfigurationError(f"{cls.__name__}.{name} would hide what every session has under this name.")
        if isinstance(value, CHANGEABLE) and not name.startswith("__"):
            raise ConfigurationError(
                f"{cls.__name__}.{name} is a {kind} that all sessions would share. "
                f"Put it in {_state_of(cls).__name__}, or make it immutable."
            )

"""@deliver: marks the method that carries one kind of Outgoing outside; mistakes are told when the class is defined."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, TypeGuard, TypeVar

from salon.errors import ConfigurationError
from salon.message_codec import MessageCodec
from salon.named import Named, by_stored_name
from salon.outgoing import Outgoing
from salon.receive import MARK as RECEIVE_MARK
from salon.signature import Function, annotation_of_argument, check_async, resolved
from salon_persistence.records import OutboxRow

F = TypeVar("F", bound=Callable[..., Coroutine[Any, Any, Any]])

MARK = "__salon_deliver__"


def deliver(handler: F, /) -> F:
    """Marks the method that carries one kind of Outgoing outside: after the commit, in order, at least once.

    The annotation of its argument says which kind. It runs beside the session's turns, so it has no `self.state` and
    no `self.turn`, but `self.deps`, `self.info` and `self.delivery`, whose key is the same on every try.
    When it returns, the thing is delivered; when it raises, or takes too long, it is tried again later, and what was
    posted after it waits. What it returns reaches nobody.
    """
    if isinstance(handler, type) or not callable(handler):
        raise ConfigurationError(f"@deliver({handler!r}): write `@deliver`; the annotation says what it carries.")
    setattr(handler, MARK, True)
    return handler


class Deliverer:
    """One `@deliver` method of a session class, ready to run: its function, its kind, the codec of its bytes."""

    __slots__ = ("codec", "function", "kind", "name")

    def __init__(self, owner: str, name: str, function: Function, names: Mapping[str, Any]) -> None:
        self.name = f"{owner}.{name}"
        self.function = function
        if hasattr(function, RECEIVE_MARK):
            raise ConfigurationError(f"{self.name} cannot both @receive and @deliver; write two methods.")
        check_async(self.name, function, "carry the whole thing outside, then return.")
        self.kind = _annotated_kind(self.name, function, names)
        self.codec: MessageCodec[Outgoing] = MessageCodec(self.kind)

    def row(self, outgoing: Outgoing, number: int, key: str) -> OutboxRow:
        """What is stored of it: its bytes, so that nothing that becomes of the object afterwards matters.

        Args:
            number: Of the store's numbers, never used before: the order in which a session's rows leave.
            key: The same on every try; unique in the store.

        Raises:
            MessageInvalid: A field holds what its class does not allow, or what cannot be stored.
        """
        stored = self.kind.salon_name
        return OutboxRow(number, key, stored.name, stored.schema_version, self.codec.encode(outgoing))


def deliverers_by_name(deliveries: Mapping[type[Outgoing], Deliverer]) -> dict[str, Deliverer]:
    """By each name under which their kinds may be stored."""
    return {name: deliverer for kind, deliverer in deliveries.items() for name in kind.salon_name.all}


def deliveries_of(cls: type, names: Mapping[str, Any]) -> dict[type[Outgoing], Deliverer]:
    """The deliveries of a class and its bases; a method of a subclass replaces the one of the same name.

    Args:
        names: Where the class stands, for annotations that are texts.

    Raises:
        ConfigurationError: A mistake in one of them, or two for one kind.
    """
    found: dict[type[Outgoing], Deliverer] = {}
    for name in dict.fromkeys(name for base in reversed(cls.__mro__) for name in vars(base)):
        function = inspect.getattr_static(cls, name)
        if hasattr(function, MARK):
            deliverer = Deliverer(cls.__name__, name, function, names)
            if deliverer.kind in found:
                other = found[deliverer.kind].name
                raise ConfigurationError(f"{other} and {deliverer.name} both deliver {deliverer.kind.__name__}.")
            found[deliverer.kind] = deliverer
    return found


def deliverer_for(owner: str, deliveries: Mapping[type[Outgoing], Deliverer], outgoing: Outgoing) -> Deliverer:
    """The one that will carry it; for `turn.post`.

    Raises:
        ConfigurationError: None of the class does, so that it would never leave.
    """
    kind = type(outgoing)
    deliverer = deliveries.get(kind)
    if deliverer is None:
        if not _is_outgoing(kind):
            raise ConfigurationError(f"{kind.__name__} is no Outgoing: post what a @deliver method carries.")
        known = ", ".join(sorted(known.__name__ for known in deliveries)) or "nothing"
        raise ConfigurationError(
            f"{owner} does not deliver {kind.__name__}; it delivers {known}. "
            f"Add `@deliver async def send(self, out: {kind.__name__}) -> None`."
        )
    return deliverer


def kinds_by_name(kinds: Iterable[type[Outgoing]]) -> Mapping[str, type[Named]]:
    """Each kind under all its names, over all session types of a Runtime.

    Raises:
        ConfigurationError: Two kinds share a name, of today or of before.
    """
    return by_stored_name(kinds, "outgoing messages")


def _is_outgoing(target: Any) -> TypeGuard[type[Outgoing]]:
    return isinstance(target, type) and issubclass(target, Outgoing) and target is not Outgoing


def _annotated_kind(name: str, function: Function, names: Mapping[str, Any]) -> type[Outgoing]:
    annotation = annotation_of_argument(name, function, "what goes out", "annotate what it carries, as `out: Text`.")
    kind = resolved(name, function, annotation, names, "")
    if kind is Outgoing:
        raise ConfigurationError(f"{name} takes any Outgoing; write one method for each kind of it.")
    if not _is_outgoing(kind):
        raise ConfigurationError(f"{name} takes {annotation!r}, which is no Outgoing.")
    return kind

"""A delivery: what a `@deliver` method sees while it carries something outside, beside the session's turns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from salon.errors import ConfigurationError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from salon.info import SessionInfo
    from salon.resident import Resident
    from salon.session import Session


class Delivery:
    """One try to carry something outside."""

    __slots__ = ("_attempt", "_key")

    def __init__(self, key: str, attempt: int = 1) -> None:
        self._key = key
        self._attempt = attempt

    @property
    def key(self) -> str:
        """The same on every try, for the receiver to know a repetition by; unique in its store."""
        return self._key

    @property
    def attempt(self) -> int:
        """1 the first time. At least once means that the receiver may have seen an attempt that was not the last."""
        return self._attempt

    def __repr__(self) -> str:
        return f"<Delivery {self._key}>"


class DeliveryFrame:
    """What a Session object reaches through in a `@deliver` method, as through a Frame in a turn."""

    __slots__ = ("_deps", "_name", "_resident", "delivery")

    def __init__(self, name: str, resident: Resident, delivery: Delivery, deps: Any) -> None:
        self._name = name
        self._resident = resident
        self._deps = deps
        self.delivery = delivery

    @property
    def state(self) -> BaseModel:
        self._lacks("self.state")

    def replace_state(self, state: BaseModel) -> None:
        self._lacks("self.state")

    @property
    def turn(self) -> NoReturn:
        self._lacks("self.turn")

    @property
    def deps(self) -> Any:
        return self._deps

    @property
    def info(self) -> SessionInfo:
        return self._resident.info()

    def _lacks(self, what: str) -> NoReturn:
        raise ConfigurationError(
            f"{self._name} has no {what}: a delivery runs beside the session's turns. "
            "Post all that it needs; to change something afterwards, send the session a message."
        )


def session_in(cls: type[Session[Any, Any]], frame: DeliveryFrame) -> Session[Any, Any]:
    """The object on which a `@deliver` method is called; it lives for one try."""
    session = cls.__new__(cls)
    object.__setattr__(session, "_salon_frame", frame)
    return session


def no_delivery() -> ConfigurationError:
    """What `self.delivery` raises outside of a `@deliver` method."""
    return ConfigurationError("self.delivery is there in a @deliver method only; in a handler use self.turn.")

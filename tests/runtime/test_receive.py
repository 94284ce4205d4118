"""Mistakes in a session class are told when the class is defined, in sentences that help."""

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from salon import ConfigurationError, Conversation, Log, Message, Session, receive

if TYPE_CHECKING:
    from elsewhere import Weather  # type: ignore[import-not-found]  # pyright: ignore[reportMissingImports]


class Say(Message[str], name="say"):
    text: str


class Count(Message[int]):
    pass


def handled(cls: type[Session[Any, Any]]) -> list[type[Message[Any]]]:
    return list(cls.salon_type.handlers)


def test_the_three_forms_of_receive_find_their_message() -> None:
    class Chat(Session):
        @receive
        async def bare(self, message: Say) -> str:
            return message.text

        @receive(timeout_s=5)
        async def with_options(self, message: Count) -> int:
            return 1

    class Other(Session):
        @receive(Say)
        async def named(self, message: Say) -> str:
            return message.text

    assert handled(Chat) == [Say, Count]
    assert handled(Other) == [Say]
    assert Chat.salon_type.handlers[Count].timeout_s == 5


def test_a_session_without_a_state_keeps_a_conversation() -> None:
    class Chat(Session):
        pass

    assert Chat.salon_type.states.model is Conversation


def test_handlers_are_inherited_and_replaced_by_name() -> None:
    class Base(Session):
        @receive
        async def say(self, message: Say) -> str:
            return "base"

    class Child(Base):
        @receive
        async def say(self, message: Say) -> str:
            return "child"

    assert Child.salon_type.handlers[Say].function is Child.say


def test_a_reply_of_another_type_is_told_at_the_definition() -> None:
    with pytest.raises(ConfigurationError, match=r"^Chat\.count returns str, but Count is a Message\[int\]\.$"):

        class Chat(Session):  # pyright: ignore[reportUnusedClass]
            @receive
            async def count(self, message: Count) -> str:
                return "one"


def test_a_plain_function_is_told_at_the_definition() -> None:
    sentence = r"^Chat\.say must be `async def`; wrap blocking calls in `await anyio\.to_thread\.run_sync\(\.\.\.\)`\.$"
    with pytest.raises(ConfigurationError, match=sentence):

        class Chat(Session):  # pyright: ignore[reportUnusedClass]
            @receive  # type: ignore[type-var]
            def say(self, message: Say) -> str:  # pyright: ignore
                return message.text


def test_an_async_generator_is_told_at_the_definition() -> None:
    with pytest.raises(ConfigurationError, match=r"^Chat\.say is an async generator"):

        class Chat(Session):  # pyright: ignore[reportUnusedClass]
            @receive  # pyright: ignore
            async def say(self, message: Say):  # type: ignore[no-untyped-def]  # pyright: ignore
                yield message.text


def test_an_annotation_that_does_not_resolve_is_told_with_the_way_out() -> None:
    sentence = (
        r"^Chat\.say: cannot resolve the annotation 'Weather'\. Import it outside `if TYPE_CHECKING:`, "
        r"or write `@receive\(Say\)`\.$"
    )
    with pytest.raises(ConfigurationError, match=sentence):

        class Chat(Session):  # pyright: ignore[reportUnusedClass]
            @receive
            async def say(self, message: "Weather") -> str:  # pyright: ignore[reportUnknownParameterType]
                return "sun"


def test_two_handlers_of_one_message_are_told_at_the_definition() -> None:
    with pytest.raises(ConfigurationError, match=r"^Chat\.one and Chat\.two both take Say\.$"):

        class Chat(Session):  # pyright: ignore[reportUnusedClass]
            @receive
            async def one(self, message: Say) -> str:
                return ""

            @receive
            async def two(self, message: Say) -> str:
                return ""


def test_an_argument_that_is_no_message_is_told_at_the_definition() -> None:
    with pytest.raises(ConfigurationError, match="which is no Message"):

        class Chat(Session):  # pyright: ignore[reportUnusedClass]
            @receive
            async def say(self, message: int) -> str:
                return ""


def test_a_mutable_class_attribute_is_told_at_the_definition() -> None:
    with pytest.raises(ConfigurationError, match=r"^Chat\.seen is a list that all sessions would share"):

        class Chat(Session):  # pyright: ignore[reportUnusedClass]
            seen: list[str] = []


@pytest.mark.parametrize("timeout_s", [0, -1, float("inf"), float("nan")])
def test_a_timeout_out_of_bounds_is_told(timeout_s: float) -> None:
    with pytest.raises(ConfigurationError):
        receive(timeout_s=timeout_s)


def test_states_that_could_not_be_stored_whole_are_told_at_the_definition() -> None:
    class Private(BaseModel):
        _secret: int = 1

    class Line(BaseModel):
        text: str

    class Changeable(BaseModel):
        lines: Log[Line] = Log()

    with pytest.raises(ConfigurationError, match="private attributes"):

        class One(Session[Private]):  # pyright: ignore[reportUnusedClass]
            pass

    with pytest.raises(ConfigurationError, match="Line is not frozen"):

        class Two(Session[Changeable]):  # pyright: ignore[reportUnusedClass]
            pass


def test_logs_that_would_share_a_stored_name_are_told() -> None:
    class Twice(BaseModel):
        a: Log[str] = Log(name="x")
        b: Log[str] = Log(former_names=("x",))

    class Deep(BaseModel):
        lines: dict[str, Log[str]] = {}

    with pytest.raises(ConfigurationError, match="are or were stored as 'x'"):

        class One(Session[Twice]):  # pyright: ignore[reportUnusedClass]
            pass

    with pytest.raises(ConfigurationError, match=r"Deep\.lines: a Log must be a field itself"):

        class Two(Session[Deep]):  # pyright: ignore[reportUnusedClass]
            pass


def test_names_that_could_not_be_stored_are_told() -> None:
    with pytest.raises(ConfigurationError, match="former_names is one text"):

        class One(Session, former_names="abc"):  # pyright: ignore[reportUnusedClass]
            pass

    with pytest.raises(ConfigurationError, match="'' is no name"):

        class Two(Message[None], name=""):  # pyright: ignore[reportUnusedClass]
            pass

    with pytest.raises(ConfigurationError, match=r"Three\.turn would hide"):

        class Three(Session):  # pyright: ignore[reportUnusedClass]
            @receive
            async def turn(self, message: Say) -> str:  # type: ignore[override]  # pyright: ignore
                return ""


def test_items_with_more_than_their_fields_are_told() -> None:
    class Open(BaseModel, frozen=True, extra="allow"):
        pass

    class State(BaseModel):
        lines: Log[Open] = Log()

    with pytest.raises(ConfigurationError, match="Open holds more than its fields"):

        class One(Session[State]):  # pyright: ignore[reportUnusedClass]
            pass

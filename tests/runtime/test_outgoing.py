"""What leaves the process: stored under a name, by value; its methods are checked when they are defined."""

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon import ConfigurationError, Message, MessageInvalid, SchemaTooNew, Session, receive
from salon.deliver import Deliverer, deliver, deliverer_for, deliveries_of, kinds_by_name
from salon.delivery import Delivery, DeliveryFrame, no_delivery, session_in
from salon.message_codec import MessageCodec
from salon.outgoing import Outgoing
from salon_persistence.errors import CorruptRecord

if TYPE_CHECKING:
    from elsewhere import Photo  # type: ignore[import-not-found]  # pyright: ignore[reportMissingImports]


class Text(Outgoing, name="text", former_names=("message",), schema_version=2):
    chat_id: int
    text: str


class Tags(Outgoing, name="tags"):
    tags: set[str] = set()


class Chat(Session):
    @deliver
    async def send(self, out: Text) -> None:
        pass


def carried(cls: type[Session[Any, Any]]) -> dict[type[Outgoing], Deliverer]:
    return deliveries_of(cls, {})


def test_an_outgoing_has_a_stored_name_that_is_not_its_path() -> None:
    class Plain(Outgoing):
        pass

    assert Text.salon_name.all == ("text", "message")
    assert Text.salon_name.schema_version == 2
    assert Plain.salon_name.all == ("Plain",)


def test_names_that_could_not_be_stored_are_told() -> None:
    with pytest.raises(ConfigurationError, match="'' is no name"):

        class One(Outgoing, name=""):  # pyright: ignore[reportUnusedClass]
            pass

    with pytest.raises(ConfigurationError, match="former_names is one text"):

        class Two(Outgoing, former_names="abc"):  # pyright: ignore[reportUnusedClass]
            pass

    with pytest.raises(ConfigurationError, match="schema_version is 0; it starts at 1"):

        class Three(Outgoing, schema_version=0):  # pyright: ignore[reportUnusedClass]
            pass


def test_two_kinds_of_one_stored_name_are_told() -> None:
    class Message(Outgoing, name="message"):
        pass

    assert kinds_by_name([Text, Tags, Text]) == {"text": Text, "message": Text, "tags": Tags}
    with pytest.raises(ConfigurationError, match="Two classes of outgoing messages are or were stored as 'message'"):
        kinds_by_name([Text, Message])


@given(st.sets(st.text()))
def test_what_is_encoded_is_decoded_equal_and_shares_nothing(tags: set[str]) -> None:
    codec = MessageCodec(Tags)
    out = Tags(tags=set(tags))

    data = codec.encode(out)
    out.tags.add("changed afterwards")

    assert codec.decode(data, 1) == Tags(tags=tags)


@given(st.integers(-(1 << 70), 1 << 70), st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_plain_kinds_are_decoded_equal_at_every_size_of_number(chat_id: int, text: str) -> None:
    codec = MessageCodec(Text)

    assert codec.decode(codec.encode(Text(chat_id=chat_id, text=text)), 2) == Text(chat_id=chat_id, text=text)


def test_what_is_not_valid_is_told_when_it_is_encoded() -> None:
    out = Text(chat_id=1, text="hi")
    out.chat_id = "one"  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]

    with pytest.raises(MessageInvalid, match="Text is not valid"):
        MessageCodec(Text).encode(out)


def test_bytes_of_newer_code_are_told_from_bytes_that_do_not_decode() -> None:
    codec = MessageCodec(Text)
    data = codec.encode(Text(chat_id=1, text="secret words"))

    assert codec.decode(data, 1) == Text(chat_id=1, text="secret words")
    with pytest.raises(SchemaTooNew, match="written under schema 3; this code knows 2"):
        codec.decode(data, 3)
    with pytest.raises(CorruptRecord):
        codec.decode(data[:-1], 2)
    with pytest.raises(MessageInvalid) as told:
        codec.decode(MessageCodec(Tags).encode(Tags(tags={"secret words"})), 2)
    assert "secret" not in str(told.value)


def test_a_delivery_is_found_by_the_annotation_of_its_argument() -> None:
    (deliverer,) = carried(Chat).values()

    assert (deliverer.kind, deliverer.name, deliverer.function) == (Text, "Chat.send", Chat.send)


def test_annotations_that_are_texts_are_resolved_where_the_class_stands() -> None:
    class Card(Outgoing):
        pass

    class Cards(Session):
        @deliver
        async def send(self, out: "Card") -> None:
            pass

    assert list(deliveries_of(Cards, locals())) == [Card]


def test_deliveries_are_inherited_and_replaced_by_name() -> None:
    class Child(Chat):
        @deliver
        async def send(self, out: Text) -> None:
            pass

        @deliver
        async def mark(self, out: Tags) -> None:
            pass

    found = carried(Child)

    assert list(found) == [Text, Tags]
    assert found[Text].function is Child.send


def test_a_plain_function_is_told_at_the_definition() -> None:
    class One:
        @deliver  # type: ignore[type-var]
        def send(self, out: Text) -> None:  # pyright: ignore
            pass

    class Two:
        @deliver  # pyright: ignore
        async def send(self, out: Text):  # type: ignore[no-untyped-def]  # pyright: ignore
            yield

    with pytest.raises(ConfigurationError, match=r"^One\.send must be `async def`; wrap blocking calls in `await any"):
        deliveries_of(One, {})
    with pytest.raises(ConfigurationError, match=r"^Two\.send is an async generator: carry the whole thing outside"):
        deliveries_of(Two, {})


def test_an_argument_that_is_no_outgoing_is_told() -> None:
    class Say(Message[None]):
        pass

    class One:
        @deliver
        async def send(self, out: Say) -> None:
            pass

    class Two:
        @deliver
        async def send(self, out) -> None:  # type: ignore[no-untyped-def]  # pyright: ignore
            pass

    class Three:
        @deliver
        async def send(self) -> None:
            pass

    class Four:
        @deliver
        async def send(self, out: Outgoing) -> None:
            pass

    class Five:
        @deliver
        async def send(self, out: "Photo") -> None:  # pyright: ignore[reportUnknownParameterType]
            pass

    for cls, sentence in (
        (One, r"^One\.send takes .*Say'>, which is no Outgoing\.$"),
        (Two, r"^Two\.send: annotate what it carries, as `out: Text`\.$"),
        (Three, r"^Three\.send must take two arguments: self and what goes out\.$"),
        (Four, r"^Four\.send takes any Outgoing; write one method for each kind of it\.$"),
        (Five, r"^Five\.send: cannot resolve the annotation 'Photo'\. Import it outside `if TYPE_CHECKING:`\.$"),
    ):
        with pytest.raises(ConfigurationError, match=sentence):
            deliveries_of(cls, {})


def test_two_methods_for_one_kind_are_told() -> None:
    class Twice:
        @deliver
        async def one(self, out: Text) -> None:
            pass

        @deliver
        async def two(self, out: Text) -> None:
            pass

    with pytest.raises(ConfigurationError, match=r"^Twice\.one and Twice\.two both deliver Text\.$"):
        deliveries_of(Twice, {})


def test_a_method_cannot_both_receive_and_deliver() -> None:
    class Both:
        @deliver
        @receive
        async def send(self, out: Text) -> None:
            pass

    with pytest.raises(
        ConfigurationError, match=r"^Both\.send cannot both @receive and @deliver; write two methods\.$"
    ):
        deliveries_of(Both, {})


def test_deliver_takes_no_brackets() -> None:
    with pytest.raises(ConfigurationError, match="write `@deliver`; the annotation says what it carries"):
        deliver(Text)  # type: ignore[type-var]  # pyright: ignore


def test_a_kind_without_a_delivery_is_told_when_it_is_posted() -> None:
    found = carried(Chat)

    assert deliverer_for("Chat", found, Text(chat_id=1, text="")) is found[Text]
    with pytest.raises(ConfigurationError) as told:
        deliverer_for("Chat", found, Tags())
    assert str(told.value) == (
        "Chat does not deliver Tags; it delivers Text. Add `@deliver async def send(self, out: Tags) -> None`."
    )
    with pytest.raises(ConfigurationError, match="str is no Outgoing"):
        deliverer_for("Chat", found, "hi")  # type: ignore[arg-type]  # pyright: ignore


class Stranger:
    """Stands for a resident: a delivery asks it for nothing but its info."""

    def info(self) -> str:
        return "who it is"


def test_in_a_delivery_there_is_no_state_and_no_turn() -> None:
    frame = DeliveryFrame("Chat.send", Stranger(), Delivery("t1-1.0"), deps="deps")  # type: ignore[arg-type]  # pyright: ignore
    session = session_in(Chat, frame)

    assert session.deps == "deps"
    assert session.info == "who it is"  # type: ignore[comparison-overlap]
    assert frame.delivery.key == "t1-1.0"
    with pytest.raises(
        ConfigurationError, match=r"^Chat\.send has no self\.state: a delivery runs beside the session'"
    ):
        _ = session.state
    with pytest.raises(ConfigurationError, match=r"^Chat\.send has no self\.state"):
        session.state = None  # pyright: ignore
    with pytest.raises(ConfigurationError, match=r"^Chat\.send has no self\.turn"):
        _ = session.turn
    with pytest.raises(AttributeError, match="no place for 'count'"):
        session.count = 1  # type: ignore[attr-defined]  # pyright: ignore


def test_outside_of_a_delivery_the_sentence_names_the_turn() -> None:
    assert "in a handler use self.turn" in str(no_delivery())

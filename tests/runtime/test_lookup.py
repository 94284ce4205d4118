"""Sessions are created once, found by those who may, and told apart by nobody else."""

from typing import Any

import anyio
import pytest
from pydantic import BaseModel

from salon import (
    ConfigurationError,
    InvalidSessionId,
    Log,
    Message,
    NameTaken,
    Runtime,
    RuntimeNotRunning,
    Session,
    SessionNotFound,
    StateInvalid,
    receive,
)
from tests.runtime.places import Place


class State(BaseModel):
    count: int = 0
    lines: Log[str] = Log()


class Add(Message[int], name="add"):
    pass


class Chat(Session[State], name="chat"):
    @receive
    async def add(self, message: Add) -> int:
        self.state.count += 1
        return self.state.count


class Needy(BaseModel):
    name: str


class Strict(Session[Needy], name="strict"):
    pass


async def test_what_was_created_is_shown_by_info(place: Place) -> None:
    async with Runtime(Chat, store=place.store()) as runtime:
        chat = await runtime.create(
            Chat,
            name="telegram:42",
            user_id="u1",
            tenant="acme",
            conversation_id="c1",
            device_id="d1",
            language="de",
            metadata={"plan": ["free", 1]},
            idle_timeout_s=10,
            absolute_ttl_s=100,
        )
        info = await chat.info()

    assert (info.type, info.name, info.user_id, info.tenant) == ("chat", "telegram:42", "u1", "acme")
    assert (info.conversation_id, info.device_id, info.language) == ("c1", "d1", "de")
    assert (info.metadata, info.lifecycle, info.reason) == ({"plan": ["free", 1]}, "active", None)
    assert info.session_id == chat.session_id
    assert (info.expires_at - info.created_at).total_seconds() == 10


async def test_an_owned_session_is_found_by_its_owner_and_by_the_host_only(place: Place) -> None:
    async with Runtime(Chat, store=place.store()) as runtime:
        owned = (await runtime.create(Chat, user_id="u1")).session_id
        assert (await runtime.get(Chat, owned, user_id="u1")).session_id == owned
        assert (await runtime.get(Chat, owned, trusted=True)).session_id == owned
        for user_id in (None, "u2"):
            with pytest.raises(SessionNotFound) as foreign:
                await runtime.get(Chat, owned, user_id=user_id)
        missing = "s_" + "A" * 22
        with pytest.raises(SessionNotFound) as absent:
            await runtime.get(Chat, missing, trusted=True)

        assert str(foreign.value) == str(absent.value)
        assert isinstance(absent.value, LookupError)
        assert isinstance(absent.value, ValueError)


async def test_a_session_without_an_owner_needs_no_principal(place: Place) -> None:
    async with Runtime(Chat, store=place.store()) as runtime:
        free = (await runtime.create(Chat)).session_id

        assert (await runtime.get(Chat, free)).session_id == free
        assert (await runtime.get(Chat, free, user_id="anybody")).session_id == free


@pytest.mark.parametrize("text", ["", "s_short", "s_" + "A" * 23, "S_" + "A" * 22, "s_" + "ä" * 22, "x' OR 1=1 --"])
async def test_what_was_never_an_id_is_told_so(place: Place, text: str) -> None:
    async with Runtime(Chat, store=place.store()) as runtime:
        with pytest.raises(InvalidSessionId):
            await runtime.get(Chat, text)


async def test_get_or_create_creates_once_however_many_ask(place: Place) -> None:
    found: list[str] = []

    async def reach() -> None:
        chat = await runtime.get_or_create(Chat, name="alice")
        await chat.ask(Add())
        found.append(chat.session_id)

    async with Runtime(Chat, store=place.store()) as runtime:
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(reach)
        assert len(set(found)) == 1
        assert (await (await runtime.get_or_create(Chat, name="alice")).peek()).state.count == 20
        assert runtime.stats()["created"] == 1
    async with Runtime(Chat, store=place.store()) as runtime:
        again = await runtime.get_or_create(Chat, name="alice")

        assert again.session_id == found[0]
        assert await again.ask(Add()) == 21


async def test_a_name_belongs_to_one_live_session_of_its_tenant_and_type(place: Place) -> None:
    async with Runtime(Chat, Strict, store=place.store()) as runtime:
        await runtime.create(Chat, name="alice")
        with pytest.raises(NameTaken):
            await runtime.create(Chat, name="alice")
        await runtime.create(Chat, name="alice", tenant="acme")
        await runtime.create(Strict, name="alice", state=Needy(name="x"))


async def test_get_or_create_of_a_foreign_session_finds_nothing(place: Place) -> None:
    async with Runtime(Chat, store=place.store()) as runtime:
        await runtime.get_or_create(Chat, name="alice", user_id="u1")
        for other in ("u2", None):
            with pytest.raises(SessionNotFound):
                await runtime.get_or_create(Chat, name="alice", user_id=other)


async def test_find_pages_through_a_users_sessions_newest_activity_first(place: Place) -> None:
    async with Runtime(Chat, store=place.store()) as runtime:
        mine = [(await runtime.create(Chat, user_id="u1")).session_id for _ in range(7)]
        await runtime.create(Chat, user_id="u2")
        await runtime.create(Chat, user_id="u1", tenant="acme")
        page = await runtime.find(user_id="u1", limit=3)
        found = [info.session_id for info in page.items]
        while page.next is not None:
            page = await runtime.find(user_id="u1", limit=3, after=page.next)
            found += [info.session_id for info in page.items]

    assert sorted(found) == sorted(mine)
    assert found == list(reversed(mine))


@pytest.mark.parametrize(
    ("given", "error"),
    [({"limit": 0}, ValueError), ({"after": "x"}, ValueError), ({"after": f"{1 << 63}-1"}, ValueError)],
)
async def test_find_tells_what_is_out_of_bounds(place: Place, given: dict[str, Any], error: type[Exception]) -> None:
    async with Runtime(Chat, store=place.store()) as runtime:
        with pytest.raises(error):
            await runtime.find(user_id="u1", **given)


async def test_a_state_without_defaults_must_be_given(place: Place) -> None:
    async with Runtime(Strict, store=place.store()) as runtime:
        with pytest.raises(ConfigurationError, match="needs a value for name"):
            await runtime.create(Strict)
        strict = await runtime.create(Strict, state=Needy(name="x"))

        assert (await strict.peek()).state == Needy(name="x")


async def test_a_first_state_that_is_not_valid_is_refused(place: Place) -> None:
    async with Runtime(Chat, store=place.store()) as runtime:
        with pytest.raises(StateInvalid):
            await runtime.create(Chat, state=State.model_construct(count="many", lines=Log()))
        with pytest.raises(ValueError, match="keeps a State, not a Needy"):
            await runtime.create(Chat, state=Needy(name="x"))  # type: ignore[misc]  # pyright: ignore


@pytest.mark.parametrize("given", [{"idle_timeout_s": 0}, {"absolute_ttl_s": -1}, {"metadata": {"x": object()}}])
async def test_create_tells_what_cannot_be_stored(place: Place, given: dict[str, Any]) -> None:
    async with Runtime(Chat, store=place.store()) as runtime:
        with pytest.raises(ValueError, match=r"must be above 0|Not storable"):
            await runtime.create(Chat, **given)


async def test_a_type_that_the_runtime_was_not_given_is_told(place: Place) -> None:
    async with Runtime(Chat, store=place.store()) as runtime:
        with pytest.raises(ConfigurationError, match="Strict is not among"):
            await runtime.create(Strict, state=Needy(name="x"))


async def test_names_on_disk_that_clash_are_told(place: Place) -> None:
    class Twin(Session[State], name="chat"):
        pass

    with pytest.raises(ConfigurationError, match="both stored as 'chat'"):
        Runtime(Chat, Twin, store=place.store())
    with pytest.raises(ConfigurationError, match="at least one"):
        Runtime(store=place.store())


async def test_verbs_outside_the_open_state_are_told(place: Place) -> None:
    runtime = Runtime(Chat, store=place.store())
    with pytest.raises(RuntimeNotRunning):
        await runtime.create(Chat)
    await runtime.open()
    with pytest.raises(RuntimeNotRunning):
        await runtime.open()
    chat = await runtime.create(Chat)
    await runtime.close()
    await runtime.close()
    for verb in (chat.ask(Add()), chat.peek(), chat.info(), runtime.find()):
        with pytest.raises(RuntimeNotRunning):
            await verb
    with pytest.raises(RuntimeNotRunning):
        runtime.stats()


@pytest.mark.parametrize("url", ["", "chat.db", "sqlite://", "sqlite:///", "redis://x"])
async def test_a_store_that_is_none_of_ours_is_told(url: str) -> None:
    with pytest.raises(ConfigurationError, match="No such store"):
        await Runtime(Chat, store=url).open()


@pytest.mark.parametrize("key", ["name", "user_id", "tenant", "conversation_id", "device_id"])
@pytest.mark.parametrize("value", [42, "", b"x", "\ud800"])
async def test_a_key_that_would_not_be_found_again_is_told(place: Place, key: str, value: Any) -> None:
    async with Runtime(Chat, store=place.store()) as runtime:
        with pytest.raises(ValueError, match=rf"^{key} (must be text|is empty)"):
            await runtime.create(Chat, **{key: value})


async def test_arguments_that_are_swapped_are_told(place: Place) -> None:
    async with Runtime(Chat, store=place.store()) as runtime:
        chat = await runtime.create(Chat)
        with pytest.raises(ConfigurationError):
            await runtime.get(chat.session_id, Chat)  # type: ignore[arg-type]  # pyright: ignore


async def test_opening_at_once_what_is_being_opened_is_told(place: Place) -> None:
    told: list[type[Exception]] = []

    async def open_it() -> None:
        try:
            await runtime.open()
        except RuntimeNotRunning as error:
            told.append(type(error))

    runtime = Runtime(Chat, store=place.store())
    async with anyio.create_task_group() as group:
        group.start_soon(open_it)
        group.start_soon(open_it)
    assert told == [RuntimeNotRunning]
    await runtime.close()

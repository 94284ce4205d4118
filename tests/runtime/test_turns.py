"""A turn is a transaction: all of it is there afterwards, or none of it."""

import contextlib
import gc
from pathlib import Path

import anyio
import pytest
from pydantic import BaseModel, Field, field_validator

from salon import (
    ConfigurationError,
    Log,
    Message,
    NoHandler,
    PayloadTooLarge,
    Refused,
    Runtime,
    Session,
    Settings,
    StateInvalid,
    TurnFailed,
    TurnOver,
    TurnTimeout,
    current_turn,
    receive,
)
from salon.log import over, stage_of
from tests.runtime.places import Place


class State(BaseModel):
    count: int = Field(default=0, ge=0)
    words: list[str] = []
    lines: Log[str] = Log()


class Add(Message[int], name="add"):
    word: str = "x"


class Break(Message[int], name="break"):
    how: str


class Wait(Message[int], name="wait"):
    seconds: float = 60


class Weather(Message[str], name="weather"):
    pass


class Counter(Session[State], name="counter"):
    @receive
    async def add(self, message: Add) -> int:
        self.state.count += 1
        self.state.words.append(message.word)
        self.state.lines.append(message.word)
        return self.state.count

    @receive
    async def break_(self, message: Break) -> int:
        self.state.count += 100
        self.state.words.append("lost")
        self.state.lines.append("lost")
        self._spoil(message.how)
        return self.state.count

    def _spoil(self, how: str) -> None:
        match how:
            case "raise":
                raise RuntimeError("the user said: secret")
            case "refuse":
                raise Refused("empty", {"why": "secret"})
            case "negative":
                self.state.count = -1
            case "unstorable":
                self.state.words.append(object())  # type: ignore[arg-type]  # pyright: ignore
            case "item":
                self.state.lines.append(object())  # type: ignore[arg-type]  # pyright: ignore
            case "log":
                self.state.lines = Log()
            case _:
                raise AssertionError(how)

    @receive
    async def wait(self, message: Wait) -> int:
        self.state.count += 100
        await anyio.sleep(message.seconds)
        return self.state.count


FAILURES = [
    ("raise", TurnFailed),
    ("refuse", Refused),
    ("negative", StateInvalid),
    ("unstorable", StateInvalid),
    ("item", StateInvalid),
    ("log", StateInvalid),
]


@pytest.mark.parametrize(("how", "error"), FAILURES)
async def test_a_turn_that_fails_leaves_nothing(place: Place, how: str, error: type[Exception]) -> None:
    async with Runtime(Counter, store=place.store()) as runtime:
        session = await runtime.create(Counter)
        assert await session.ask(Add(word="kept")) == 1
        before = await session.peek()
        with pytest.raises(error) as caught:
            await session.ask(Break(how=how))

        assert caught.value.message == Break(how=how)  # type: ignore[attr-defined]
        after = await session.peek()
        assert (after.version, after.state.count, after.state.words) == (before.version, 1, ["kept"])
        assert after.state.lines.tail(10) == ["kept"]
        assert await session.ask(Add(word="next")) == 2
        assert (await session.peek()).state.lines.tail(10) == ["kept", "next"]


@pytest.mark.parametrize(("how", "error"), [("raise", TurnFailed), ("refuse", Refused)])
async def test_errors_say_nothing_of_what_was_said(place: Place, how: str, error: type[Exception]) -> None:
    async with Runtime(Counter, store=place.store()) as runtime:
        session = await runtime.create(Counter)
        with pytest.raises(error) as caught:
            await session.ask(Break(how=how))

        assert "secret" not in str(caught.value)


async def test_a_refusal_arrives_as_itself(place: Place) -> None:
    async with Runtime(Counter, store=place.store()) as runtime:
        session = await runtime.create(Counter)
        with pytest.raises(Refused) as caught:
            await session.ask(Break(how="refuse"))

        assert (caught.value.code, caught.value.detail) == ("empty", {"why": "secret"})


async def test_a_failure_names_its_handler_and_carries_its_cause(place: Place) -> None:
    async with Runtime(Counter, store=place.store()) as runtime:
        session = await runtime.create(Counter)
        with pytest.raises(TurnFailed, match=r"^Counter\.break_ raised RuntimeError; nothing was applied\.$") as caught:
            await session.ask(Break(how="raise"))

        assert isinstance(caught.value.__cause__, RuntimeError)


async def test_a_deadline_rolls_the_turn_back(place: Place) -> None:
    async with Runtime(Counter, store=place.store(), settings=Settings(tick_s=0.005)) as runtime:
        session = await runtime.create(Counter)
        with pytest.raises(TurnTimeout):
            await session.ask(Wait(), timeout_s=0.01)

        assert await session.ask(Add()) == 1


async def test_the_callers_cancellation_does_not_touch_the_turn(place: Place) -> None:
    async with Runtime(Counter, store=place.store()) as runtime:
        session = await runtime.create(Counter)
        with anyio.move_on_after(0.01) as scope:
            await session.ask(Wait(seconds=0.05))

        assert scope.cancelled_caught
        assert await session.ask(Add()) == 101


async def test_a_turn_that_changed_nothing_writes_nothing(place: Place) -> None:
    class Read(Message[int]):
        pass

    class Reader(Session[State]):
        @receive
        async def read(self, message: Read) -> int:
            return self.state.count

    async with Runtime(Reader, store=place.store()) as runtime:
        session = await runtime.create(Reader)
        commits = runtime.stats()["commits"]
        assert await session.ask(Read()) == 0

        assert runtime.stats()["commits"] == commits
        assert (await session.peek()).version == 1


async def test_a_message_without_a_handler_is_told(place: Place) -> None:
    async with Runtime(Counter, store=place.store()) as runtime:
        session = await runtime.create(Counter)
        with pytest.raises(NoHandler, match=r"^Counter does not handle Weather; it handles Add, Break, Wait\.$"):
            await session.ask(Weather())


async def test_a_message_beyond_the_bound_is_told_with_its_size(place: Place) -> None:
    async with Runtime(Counter, store=place.store(), settings=Settings(message_bytes_max=100)) as runtime:
        session = await runtime.create(Counter)
        with pytest.raises(PayloadTooLarge) as caught:
            await session.ask(Add(word="x" * 200))

        assert caught.value.size_bytes > 200
        assert caught.value.bytes_max == 100


async def test_a_state_beyond_the_bound_is_rolled_back(place: Place) -> None:
    async with Runtime(Counter, store=place.store(), settings=Settings(state_bytes_max=100)) as runtime:
        session = await runtime.create(Counter)
        with pytest.raises(StateInvalid, match="the bound is 100"):
            await session.ask(Add(word="x" * 200))

        assert await session.ask(Add()) == 1


async def test_what_outlives_its_turn_is_told_so(place: Place) -> None:
    class Leaked(BaseModel):
        lines: Log[str] = Log()

    class Leak(Message[None]):
        pass

    leaked: list[Session[Leaked]] = []
    logs: list[Log[str]] = []

    class Leaky(Session[Leaked]):
        @receive
        async def leak(self, message: Leak) -> None:
            leaked.append(self)
            logs.append(self.state.lines)

    async with Runtime(Leaky, store=place.store()) as runtime:
        await (await runtime.create(Leaky)).ask(Leak())
        sentence = (
            r"^Turn t\d+-\d+a? is over; a task it started still uses self\.state\. "
            r"Await it in the handler, or send a message\.$"
        )
        with pytest.raises(TurnOver, match=sentence):
            _ = leaked[0].state
        with pytest.raises(TurnOver):
            _ = leaked[0].turn.id
        with pytest.raises(TurnOver):
            logs[0].append("late")
        with pytest.raises(TurnOver):
            len(logs[0])


async def test_a_reference_kept_beyond_its_turn_changes_nothing(place: Place) -> None:
    class Keep(Message[list[str]]):
        pass

    kept: list[list[str]] = []

    class Keeper(Session[State]):
        @receive
        async def keep(self, message: Keep) -> list[str]:
            kept.append(self.state.words)
            self.state.words.append("own")
            return self.state.words

    async with Runtime(Keeper, store=place.store()) as runtime:
        session = await runtime.create(Keeper)
        reply = await session.ask(Keep())
        kept[0].append("foreign")
        reply.append("foreign")

        assert await session.ask(Keep()) == ["own", "own"]


async def test_an_attribute_has_no_place_on_a_session(place: Place) -> None:
    class Set(Message[None]):
        pass

    class Setter(Session[State]):
        @receive
        async def set(self, message: Set) -> None:
            self.count = 1

    async with Runtime(Setter, store=place.store()) as runtime:
        with pytest.raises(TurnFailed) as caught:
            await (await runtime.create(Setter)).ask(Set())

        assert str(caught.value.__cause__) == (
            "Setter has no place for 'count'. Put it in State to keep it, "
            "or name it '_count' for a cache lost at passivation."
        )


async def test_an_attribute_with_an_underscore_is_a_cache(place: Place) -> None:
    class Hit(Message[int]):
        pass

    class Cached(Session[State]):
        _hits: int = 0

        @receive
        async def hit(self, message: Hit) -> int:
            self._hits += 1
            return self._hits

    async with Runtime(Cached, store=place.store()) as runtime:
        session = await runtime.create(Cached)
        other = await runtime.create(Cached)

        assert [await session.ask(Hit()), await session.ask(Hit()), await other.ask(Hit())] == [1, 2, 1]
    async with Runtime(Cached, store=place.store()) as runtime:
        again = await runtime.get(Cached, session.session_id)

        assert await again.ask(Hit()) == 1


async def test_the_running_turn_is_found_from_below(place: Place) -> None:
    class Who(Message[bool]):
        pass

    class Finder(Session[State]):
        @receive
        async def who(self, message: Who) -> bool:
            return current_turn() is self.turn and self.turn.attempt == 1 and self.turn.deadline > self.info.created_at

    async with Runtime(Finder, store=place.store()) as runtime:
        assert await (await runtime.create(Finder)).ask(Who())
        with pytest.raises(ConfigurationError):
            current_turn()


async def test_a_whole_new_state_replaces_the_old_one_with_its_log(place: Place) -> None:
    class Reset(Message[None]):
        pass

    class Resetting(Counter):
        @receive
        async def reset(self, message: Reset) -> None:
            fresh = State(count=7)
            fresh.lines.append("first")
            self.state = fresh

    async with Runtime(Resetting, store=place.store()) as runtime:
        session = await runtime.create(Resetting)
        await session.ask(Add(word="old"))
        await session.ask(Reset())
        state = (await session.peek()).state

        assert (state.count, state.words, state.lines.tail(5), len(state.lines)) == (7, [], ["first"], 1)


async def test_an_error_of_a_session_that_was_asked_is_a_failure_of_the_turn_that_asked(place: Place) -> None:
    class Through(Message[int]):
        to: str

    class Asking(Session[State, list[Runtime]], name="asking"):
        @receive
        async def through(self, message: Through) -> int:
            other = await self.deps[0].get(Counter, message.to)
            return await other.ask(Break(how="negative"))

    deps: list[Runtime] = []
    async with Runtime(Asking, Counter, store=place.store(), deps=deps) as runtime:
        deps.append(runtime)
        other = await runtime.create(Counter)
        with pytest.raises(TurnFailed, match=r"^Asking\.through raised StateInvalid"):
            await (await runtime.create(Asking)).ask(Through(to=other.session_id))


async def test_turns_leave_no_circles_to_the_garbage_collector(place: Place) -> None:
    async with Runtime(Counter, store=place.store()) as runtime:
        session = await runtime.create(Counter)
        await session.ask(Add())
        gc.collect()
        gc.disable()
        try:
            for _ in range(100):
                await session.ask(Add())
            assert gc.collect() < 100
        finally:
            gc.enable()


class Assign(Message[int], name="assign"):
    how: str


class Assigning(Counter, name="assigning"):
    @receive
    async def assign(self, message: Assign) -> int:
        match message.how:
            case "copy":
                self.state = self.state.model_copy(update={"count": 7})
            case "deep":
                copied = self.state.model_copy(update={"count": 7}, deep=True)
                copied.lines.append("of the copy")
                self.state.lines.append("of the draft")
                self.state = copied
            case "invalid":
                with contextlib.suppress(StateInvalid):
                    self.state = State.model_construct(count="many", lines=Log())
            case _:
                raise AssertionError(message.how)
        self.state.lines.append("after")
        return self.state.count


@pytest.mark.parametrize(
    ("how", "count", "lines"),
    [("copy", 7, ["x", "after"]), ("deep", 7, ["x", "of the copy", "after"]), ("invalid", 1, ["x", "after"])],
)
async def test_assigning_a_state_keeps_the_logs_that_it_has(
    place: Place, how: str, count: int, lines: list[str]
) -> None:
    async with Runtime(Assigning, store=place.store()) as runtime:
        session = await runtime.create(Assigning)
        await session.ask(Add())
        assert await session.ask(Assign(how=how)) == count
    async with Runtime(Assigning, store=place.store()) as runtime:
        state = (await (await runtime.get(Assigning, session.session_id)).peek()).state
        assert (state.count, state.lines.tail(9)) == (count, lines)


async def test_the_log_of_another_session_is_not_taken_over_in_silence(place: Place) -> None:
    async with Runtime(Counter, store=place.store()) as runtime:
        session = await runtime.create(Counter)
        await session.ask(Add())
        with pytest.raises(StateInvalid, match=r"State\.lines belongs to another session, view or turn"):
            await runtime.create(Counter, state=(await session.peek()).state)


class Odd(BaseModel):
    n: int = 0

    @field_validator("n")
    @classmethod
    def not_seven(cls, n: int) -> int:
        return {0: 0, 1: 1}[n]


class Set(Message[Odd], name="set"):
    n: int
    reply: int = 0


class Setting(Session[Odd], name="setting"):
    @receive
    async def set(self, message: Set) -> Odd:
        self.state.n = message.n
        return Odd.model_construct(n=message.reply)


@pytest.mark.parametrize("message", [Set(n=7), Set(n=1, reply=7)])
async def test_a_validator_that_raises_anything_fails_the_turn(place: Place, message: Set) -> None:
    async with Runtime(Setting, store=place.store()) as runtime:
        setting = await runtime.create(Setting)
        with pytest.raises(TurnFailed, match=r"Setting\.set raised KeyError"):
            await setting.ask(message)

        assert (await setting.peek()).version == 1
        assert await setting.ask(Set(n=1)) == Odd(n=0)


class Retry(Message[int], name="retry"):
    pass


class Retrying(Session[State], name="retrying"):
    @receive
    async def retry(self, message: Retry) -> int:
        self.state.lines.append("question")
        self.state.lines.append("answer")
        return len(self.state.lines.pop())


async def test_a_turn_after_many_cuts_writes_no_more_than_the_first(tmp_path: Path) -> None:
    async with Runtime(Retrying, store=Place("memory", tmp_path).store()) as runtime:
        session = await runtime.create(Retrying)
        for _ in range(300):
            await session.ask(Retry())
        view = await session.peek()
        assert (len(view.state.lines), view.state.lines.append("next")) == (300, 600)
        core = over(view.state.lines, stage_of(view.state.lines))
        core.append("answer")
        core.pop()
        delta = stage_of(core).delta()

        assert delta is not None
        assert delta.cuts == ((601, 602),)

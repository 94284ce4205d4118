"""once: the result of a step is durable before it is used, and outlives its turn. token: the same each time."""

from contextlib import suppress
from typing import Any, cast

import anyio
import pytest
from pydantic import BaseModel

from salon import NotApplied, OutcomeUnknown, SessionHandle, TurnFailed
from salon.testing import FaultPoint, VirtualClock
from tests.runtime.places import Place
from tests.runtime.scripts import Again, Chat, Cues, Say, Scene, State, scene
from tests.runtime.waiting import until


class Paid(BaseModel):
    amount: int


class Till:
    """A tool with an effect outside."""

    def __init__(self) -> None:
        self.paid = 0
        self.tokens: list[str] = []
        self.fails_until = 0

    async def pay(self) -> Paid:
        self.paid += 1
        return Paid(amount=self.paid)

    async def play(self, chat: Chat, text: str) -> str:
        """Pays once, and fails as often as it is told to."""
        self.tokens.append(chat.turn.token("pay"))
        paid = await chat.turn.once("pay", self.pay, result=Paid)
        assert paid == Paid(amount=1)
        paid.amount = 99  # its own copy
        await chat.deps.pause(text)
        if len(self.tokens) <= self.fails_until:
            raise KeyError(text)
        return f"paid {self.paid}"


def till_of(cues: Cues, text: str = "a") -> Till:
    till = Till()
    cues.scripts[text] = till.play
    return till


async def test_a_step_runs_once_over_all_attempts(place: Place) -> None:
    cues = Cues()
    till = till_of(cues)
    till.fails_until = 2
    async with scene(place, cues) as it:
        receipt = await it.tell(Again(text="a"))
        assert "paid 1" == await receipt.wait()

        assert (3, 1) == (len(till.tokens), len(set(till.tokens)))
        assert 32 == len(till.tokens[0])


async def test_a_step_runs_once_within_a_turn_and_each_name_is_a_step(place: Place) -> None:
    cues, till = Cues(), Till()

    async def play(chat: Chat, text: str) -> str:
        found = [await chat.turn.once(name, till.pay, result=Paid) for name in ("x", "x", "y")]
        return str([paid.amount for paid in found])

    cues.scripts["a"] = play
    async with scene(place, cues) as it:
        assert "[1, 1, 2]" == await it.chat.ask(Say(text="a"))
        assert "[3, 3, 4]" == await it.chat.ask(Say(text="a"))


async def test_a_result_is_durable_before_it_is_used(place: Place) -> None:
    """The process dies right after the write: the next life has the result, and does not pay again."""
    cues = Cues()
    till = till_of(cues)
    async with scene(place, cues, FaultPoint("commit", 3, "after", "die")) as it:
        receipt = await it.tell(Again(text="a"))
        await until(lambda: it.store.is_dead)
    async with scene(place, cues) as it:
        assert "paid 1" == await (await it.chat.receipt(turn=receipt.turn)).wait()

        assert (2, 1) == (len(till.tokens), len(set(till.tokens)))


async def test_a_step_whose_result_was_not_written_runs_again_with_the_same_token(place: Place) -> None:
    cues = Cues()
    paid: list[str] = []

    async def play(chat: Chat, text: str) -> str:
        async def pay() -> str:
            paid.append(chat.turn.token("pay"))
            return "paid"

        return await chat.turn.once("pay", pay, result=str)

    cues.scripts["a"] = play
    async with scene(place, cues, FaultPoint("commit", 3, "before", "die")) as it:
        receipt = await it.tell(Again(text="a"))
        await until(lambda: it.store.is_dead)
    async with scene(place, cues) as it:
        assert "paid" == await (await it.chat.receipt(turn=receipt.turn)).wait()

        assert (2, 1) == (len(paid), len(set(paid)))


@pytest.mark.parametrize("told", [False, True], ids=["asked", "told"])
async def test_a_keyed_message_keeps_its_steps_over_a_crash(place: Place, told: bool) -> None:
    """Asked or told: whoever sends it again under its key finds them."""
    cues = Cues()
    till = till_of(cues)
    cues.closed = {"a"}
    async with scene(place, cues) as it:
        await it.send(Say(text="a"), key="k")
        await until(lambda: till.paid and it.store.calls("commit") >= 2)
        await _settled(it)
        it.kill()
    cues.closed = set()
    async with scene(place, cues) as it:
        await it.send(Say(text="a"), told=told, key="k")
        assert {"a": "paid 1"} == await it.saw("a")

        assert (2, 1) == (len(till.tokens), len(set(till.tokens)))


async def _settled(it: Scene) -> None:
    """What was handed over is written."""
    other: SessionHandle[State] = await it.runtime.create(Chat)
    assert other.session_id


@pytest.mark.parametrize("told", [False, True], ids=["asked", "told"])
async def test_a_failure_of_a_keyed_message_keeps_its_steps_and_a_recorded_end_drops_them(
    place: Place, told: bool
) -> None:
    cues = Cues()
    till = till_of(cues)
    till.fails_until = 1
    async with scene(place, cues) as it:
        await it.send(Say(text="a"), told=told, key="k")
        assert {"a": "TurnFailed"} == await it.saw("a")
        assert ["key:k"] == [*await steps_of(it)]
        assert "paid 1" == await it.chat.ask(Say(text="a"), key="k")
        assert "paid 1" == await it.chat.ask(Say(text="a"), key="k")
        assert 2 == len(till.tokens)
        assert {} == await steps_of(it)
    async with scene(place, cues) as it:
        await it.chat.peek()
        assert {} == await steps_of(it)


async def steps_of(it: Scene) -> dict[str, dict[str, bytes]]:
    """What is stored of the chat's steps, as a new process reads it."""
    machinery = cast(Any, it.runtime)._machinery
    resident = machinery.residents.at_hand(it.chat.session_id)
    resident.is_stale = True
    await machinery.residents.refresh(resident)
    return {} if resident.inbox is None else {owner: dict(steps) for owner, steps in resident.inbox.steps.items()}


async def test_steps_of_a_failed_message_without_a_key_go_with_it(place: Place) -> None:
    cues = Cues()
    till = till_of(cues)
    till.fails_until = 1
    async with scene(place, cues) as it:
        with pytest.raises(TurnFailed):
            await (await it.tell(Say(text="a"))).wait()
        assert {} == await steps_of(it)


async def test_steps_of_a_key_that_nobody_sends_again_go_in_time(place: Place) -> None:
    clock, cues = VirtualClock(), Cues()
    till = till_of(cues)
    till.fails_until = 1
    async with scene(place, cues, clock=clock, idempotency_age_s=60) as it:
        with pytest.raises(TurnFailed):
            await it.chat.ask(Say(text="a"), key="k")
        assert ["key:k"] == [*await steps_of(it)]
    clock = VirtualClock()
    await clock.advance(61)
    async with scene(place, cues, clock=clock, idempotency_age_s=60) as it:
        await it.chat.ask(Say(text="other"))
        assert {} == await steps_of(it)


@pytest.mark.parametrize(("effect", "error"), [("refuse", NotApplied), ("unknown", OutcomeUnknown)])
async def test_a_result_that_the_store_does_not_take_is_not_used(
    place: Place, effect: str, error: type[Exception]
) -> None:
    cues, till, said = Cues(), Till(), list[type[Exception]]()

    async def play(chat: Chat, text: str) -> str:
        for _ in range(2):
            try:
                await chat.turn.once("pay", till.pay, result=Paid)
            except (NotApplied, OutcomeUnknown) as failed:
                said.append(type(failed))
        return f"paid {till.paid}"

    cues.scripts["a"] = play
    async with scene(place, cues, FaultPoint("commit", 3, "instead", cast(Any, effect))) as it:
        assert "paid 2" == await (await it.tell(Say(text="a"))).wait()
        assert [error] == said


async def test_a_result_of_another_type_fails_the_turn(place: Place) -> None:
    cues = Cues()

    async def play(chat: Chat, text: str) -> str:
        async def wrong() -> Any:
            return object()

        return str(await chat.turn.once("pay", wrong, result=Paid))

    cues.scripts["a"] = play
    async with scene(place, cues) as it:
        with pytest.raises(TurnFailed, match=r"TurnFailed|once|Chat\.say"):
            await it.chat.ask(Say(text="a"))


async def test_tokens_differ_by_step_turn_and_session(place: Place) -> None:
    cues, found = Cues(), list[str]()

    async def play(chat: Chat, text: str) -> str:
        found.extend([chat.turn.token("x"), chat.turn.token("x"), chat.turn.token("y")])
        return ""

    cues.scripts["a"] = play
    async with scene(place, cues) as it:
        other: SessionHandle[State] = await it.runtime.create(Chat)
        for chat in (it.chat, it.chat, other):
            await chat.ask(Say(text="a"))
        for chat in (it.chat, other):
            await chat.ask(Say(text="a"), key="k")

        assert (15, 10) == (len(found), len(set(found)))


async def test_two_tasks_of_one_turn_that_ask_for_one_step_run_it_once(place: Place) -> None:
    cues, till = Cues(), Till()
    found: list[int] = []

    async def pay() -> Paid:
        await anyio.sleep(0.001)
        if till.fails_until:
            till.fails_until -= 1
            raise KeyError
        return await till.pay()

    async def play(chat: Chat, text: str) -> str:
        async def step() -> None:
            with suppress(KeyError):
                found.append((await chat.turn.once("pay", pay, result=Paid)).amount)

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(step)
        return text

    cues.scripts["a"] = play
    async with scene(place, cues) as it:
        assert "a" == await it.chat.ask(Say(text="a"), key="k")
        assert (1, [1, 1, 1]) == (till.paid, found)
        till.fails_until = 1
        assert "a" == await it.chat.ask(Say(text="a"))
        assert (2, [1, 1, 1, 2, 2]) == (till.paid, found)


async def test_a_step_that_raised_leaves_nothing_in_memory(place: Place) -> None:
    cues = Cues()

    async def pay() -> str:
        raise KeyError

    async def play(chat: Chat, text: str) -> str:
        return await chat.turn.once("pay", pay, result=str)

    cues.scripts["a"] = play
    async with scene(place, cues, crash_budget=1000) as it:
        for number in range(10):
            with pytest.raises(TurnFailed):
                await it.chat.ask(Say(text="a"), key=str(number))
        (resident,) = cast(Any, it.runtime)._machinery.residents

        assert None is resident.inbox

"""Errors are kept for readers that come late, and what the failed handlers had at hand is not."""

import gc
import weakref

import anyio
import pytest

from salon import SalonError, TurnFailed
from salon.tracebacks import TRACEBACKS_MAX, Tracebacks
from tests.runtime.places import Place
from tests.runtime.scripts import Chat, Cues, Say, Scene, scene


class Conversation:
    """Something large that a handler holds."""


@pytest.mark.parametrize("told", [False, True], ids=["asked", "told"])
async def test_failed_turns_hold_no_frames_but_of_the_latest(place: Place, told: bool) -> None:
    held = list[weakref.ref[Conversation]]()
    cues = Cues()

    async def play(chat: Chat, text: str) -> str:
        conversation = Conversation()
        held.append(weakref.ref(conversation))
        try:
            raise KeyError(text)
        except KeyError as error:
            raise RuntimeError(text) from error

    cues.scripts["a"] = play
    async with scene(place, cues, crash_budget=1000) as it:
        errors: list[SalonError] = []
        for number in range(3 * TRACEBACKS_MAX):
            with anyio.fail_after(5), pytest.raises(TurnFailed) as caught:
                await _sent(it, str(number), told=told)
            errors.append(caught.value)
        gc.collect()

        assert 1 <= sum(one() is not None for one in held) <= TRACEBACKS_MAX
        assert all(isinstance(error.__cause__, RuntimeError) for error in errors)
        assert [False, True] == [error.__cause__.__traceback__ is not None for error in (errors[0], errors[-1])]  # type: ignore[union-attr]


async def _sent(it: Scene, key: str, *, told: bool) -> None:
    if told:
        await (await it.chat.tell(Say(text="a"))).wait()
    else:
        await it.chat.ask(Say(text="a"), key=key)


def _raised(number: int) -> BaseException:
    try:
        try:
            raise KeyError(number)
        except KeyError as error:
            raise ExceptionGroup("all", [error, OSError()]) from error
    except ExceptionGroup as error:
        return error


def test_all_that_lies_beneath_an_error_is_cut() -> None:
    errors = [_raised(number) for number in range(TRACEBACKS_MAX + 1)]
    tracebacks = Tracebacks()
    for error in errors:
        tracebacks.keep(error)

    found = [(error.__traceback__, error.__cause__.__traceback__) for error in errors if error.__cause__ is not None]
    assert (None, None) == found[0]
    assert all(None not in pair for pair in found[1:])

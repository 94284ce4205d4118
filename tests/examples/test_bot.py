"""The demo's bot answers from what it has heard, and from nothing else."""

import pytest

from examples.demo.bot import Bot, Deps, Memory, Say, answer, next_digest
from examples.demo.history import whole_history
from examples.demo.report import percentile
from examples.demo.wire import Lines
from salon import Runtime


async def think(message: Say) -> None:
    """Takes no time."""


@pytest.mark.filterwarnings("ignore:.*memory.*")
async def test_the_bot_counts_and_digests_what_it_hears() -> None:
    async with Runtime(Bot, store="memory://", deps=Deps(think)) as runtime:
        chat = await runtime.get_or_create(Bot, name="a")
        replies = [await chat.ask(Say(text=text, mark=text)) for text in ("I am Ines.", "Who am I?")]
        lines = await whole_history(chat)

    digest = next_digest(next_digest("", "I am Ines."), "Who am I?")
    assert replies[1] == f"You are Ines. [2 {digest}]"
    assert [line.content for line in lines] == ["I am Ines.", replies[0], "Who am I?", replies[1]]
    assert [line.mark for line in lines] == ["I am Ines."] * 2 + ["Who am I?"] * 2


@pytest.mark.filterwarnings("ignore:.*memory.*")
async def test_a_history_of_many_pages_is_read_whole() -> None:
    async with Runtime(Bot, store="memory://", deps=Deps(think)) as runtime:
        chat = await runtime.get_or_create(Bot, name="a")
        for number in range(120):
            await chat.ask(Say(text=f"{number}"))
        lines = await whole_history(chat)

    assert [line.content for line in lines if line.role == "user"] == [f"{number}" for number in range(120)]


def test_the_bot_recalls_the_first_and_the_last_thing() -> None:
    memory = Memory(first="one", previous="two")

    assert "“one”" in answer(memory, "What was the first thing?")
    assert "“two”" in answer(memory, "Hm.")


def test_what_only_sounds_like_a_name_is_none() -> None:
    memory = Memory()
    answer(memory, "I'm looking for a book.")

    assert memory.user_name == ""


def test_a_line_without_its_end_is_kept_back() -> None:
    lines = Lines()

    assert [lines.feed(data) for data in (b"a\nb", b"c", b"\n\n", b"d")] == [[b"a"], [], [b"bc", b""], []]


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(n) for n in range(1, 101)]

    assert [percentile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]
    assert percentile([7.0], 0.99) == 7

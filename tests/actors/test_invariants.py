"""A random troupe: whatever handlers do, turns of one actor never overlap or overtake, and each message ends once."""

import random
from collections import Counter
from collections.abc import AsyncGenerator
from itertools import groupby

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st

from salon_actors import HIGH, LOW, NORMAL, Ending, Envelope, MailboxFull, Phase, Raised, Scheduler, current_host_loop
from salon_actors.envelope import CONTROL
from tests.actors.stage import Handler, Play, Someone, StillClock, Troupe, actor, settle, staged
from tests.actors.test_accidents import ABANDONED, put_away
from tests.actors.test_mailbox import Reference

pytestmark = pytest.mark.usefixtures("quiet")


class Witness:
    """Runs numbered messages, holds some turns, puts some back, and writes down what it sees."""

    scheduler: Troupe

    def __init__(self, chance: random.Random, turns_max: int | None) -> None:
        self.chance = chance
        self.turns_max = turns_max
        self.begun: dict[Someone, list[Envelope]] = {}
        self.under_way = Counter[Someone]()
        self.fates: dict[int, list[str]] = {}
        self.held: list[Someone] = []
        self.waiting: dict[Someone, set[Envelope]] = {}

    async def handle(self, one: Someone, envelope: Envelope, /) -> object:
        assert 0 == self.under_way[one]
        assert self.turns_max is None or self.scheduler.slots_taken < self.turns_max
        assert envelope.priority == CONTROL or not one.is_suspended
        self.under_way[one] += 1
        self.begun.setdefault(one, []).append(envelope)
        self.waiting[one].remove(envelope)
        _, handler = self.opened(envelope)
        lends = self.chance.random() < 0.2
        if lends:
            self.scheduler.give_up_slot(one)
        try:
            return await handler()
        finally:
            if lends:
                self.scheduler.regain_slot(one)
            self.under_way[one] -= 1

    def opened(self, envelope: Envelope) -> tuple[int, Handler]:
        message: tuple[int, Handler] = envelope.message  # type: ignore[assignment]
        return message

    def note(self, envelope: Envelope, fate: str) -> None:
        self.fates[self.opened(envelope)[0]].append(fate)

    def finish(self, one: Someone, envelope: Envelope, ending: Ending, /) -> bool:
        assert 0 == self.under_way[one]
        if isinstance(ending, Raised) and self.chance.random() < 0.8:
            self.note(envelope, "put back")
            self.waiting[one].add(envelope)
            self.scheduler.put_back(one, envelope)
        else:
            self.note(envelope, type(ending).__name__)
        free = self.chance.random() < 0.7
        if not free:
            self.held.append(one)
        return free

    def expire(self, one: Someone, envelope: Envelope, started: bool, /) -> None:
        self.note(envelope, "late" if started else "expired")
        if not started:
            self.waiting[one].remove(envelope)

    def stuck(self, one: Someone, envelope: Envelope, late_s: float, /) -> None: ...

    def abandon(self, one: Someone, envelope: Envelope, /) -> None:
        self.note(envelope, "abandoned")
        self.waiting[one].remove(envelope)

    def agrees(self) -> bool:
        """What the scheduler says of what waits, and what the witness has seen."""
        users = [each for waiting in self.waiting.values() for each in waiting if each.priority != CONTROL]
        assert (len(users), sum(each.size_bytes for each in users)) == self.scheduler.totals
        for one, waiting in self.waiting.items():
            listed = self.scheduler.waiting(one)
            assert (len(listed), waiting) == (len(set(listed)), set(listed))
            users = [each for each in waiting if each.priority != CONTROL]
            assert (len(users), sum(each.size_bytes for each in users)) == (one.depth, one.waiting_bytes)
            oldest = self.scheduler.oldest(one)
            assert (oldest is None) == (not users)
        return True


ENDINGS = [
    ["Returned"],
    ["Raised"],
    ["Cancelled"],
    ["late", "Cancelled"],
    ["expired"],
    ["abandoned"],
    ["withdrawn"],
]


@pytest.mark.parametrize("seed", range(12))
async def test_turns_never_overlap_and_each_message_ends_once(seed: int, sight: str) -> None:
    chance, clock, host = random.Random(seed), StillClock(), current_host_loop()
    turns_max = [None, 5, 3][seed % 3]
    witness = Witness(chance, turns_max)
    scheduler: Troupe = Scheduler(host, clock, witness, mailbox_messages_max=8, turns_max=turns_max, stuck_after_s=2)
    witness.scheduler = scheduler
    await scheduler.open()
    actors, kept = [actor() for _ in range(6)], list[AsyncGenerator[int, None]]()
    witness.waiting = {one: set() for one in actors}
    sent: dict[Someone, list[Envelope]] = {one: [] for one in actors}

    async def returns() -> None: ...

    async def suspends() -> None:
        for _ in range(chance.randrange(6)):
            await checkpoint()

    async def raises() -> None:
        await suspends()
        raise ValueError

    async def waits() -> None:
        await anyio.sleep_forever()

    async def shields() -> None:
        with anyio.CancelScope(shield=True):
            await clock.sleep(chance.random() * 3)

    async def abandons() -> None:
        kept.append(chance.choice(ABANDONED)([]))
        await anext(kept[-1])
        await suspends()

    handlers: list[Handler] = [returns, suspends, suspends, raises, raises, waits, shields, abandons]
    refused = 0
    for number in range(400):
        one = chance.choice(actors)
        deadline = clock.now + chance.choice([0.5, 2, 1000])
        witness.fates[number] = []
        message = (number, chance.choice(handlers))
        envelope = Envelope(
            message, host.promise(), deadline, chance.randrange(9), chance.choice([HIGH, NORMAL, LOW]), clock.now
        )
        try:
            if chance.random() < 0.05:
                scheduler.submit_control(one, envelope)
            else:
                scheduler.submit(one, envelope, bounded=chance.random() < 0.9)
            sent[one].append(envelope)
            witness.waiting[one].add(envelope)
        except MailboxFull:
            refused += 1
            del witness.fates[number]
        what = chance.random()
        if what < 0.2:
            await checkpoint()
        elif what < 0.27:
            await clock.advance(chance.random())
        elif what < 0.3:
            scheduler.cancel(chance.choice(actors), "chance")
        elif what < 0.35:
            one = chance.choice(actors)
            if listed := scheduler.waiting(one):
                gone = chance.choice(listed)
                assert scheduler.withdraw(one, gone)
                assert not scheduler.withdraw(one, gone)
                witness.note(gone, "withdrawn")
                witness.waiting[one].remove(gone)
        elif what < 0.4:
            scheduler.suspend(chance.choice(actors))
        elif what < 0.5:
            scheduler.resume(chance.choice(actors))
        elif what < 0.75 and witness.held:
            scheduler.release(witness.held.pop(chance.randrange(len(witness.held))))
        assert witness.agrees()
    if seed % 2:
        while not scheduler.is_idle or scheduler.totals != (0, 0):
            for one in actors:
                scheduler.resume(one)
            while witness.held:
                scheduler.release(witness.held.pop())
            await clock.advance(400)
        await scheduler.wait_idle()
        assert all(one.is_idle for one in actors)
    closing = anyio.Event()

    async def close() -> None:
        await scheduler.close()
        closing.set()

    async with anyio.create_task_group() as group:
        group.start_soon(close)
        while not closing.is_set():
            await clock.advance(10)
    await settle()

    ends = [[fate for fate in fates if fate != "put back"] for fates in witness.fates.values()]
    assert [fates for fates in ends if fates not in ENDINGS] == []
    assert witness.agrees()
    assert (0, 0) == scheduler.totals
    for one in actors:
        for priority in (CONTROL, HIGH, NORMAL, LOW):
            # A message that was put back is the next of its lane, so that nothing of the lane comes between.
            begun = [each for each, _ in groupby(each for each in witness.begun[one] if each.priority == priority)]
            assert [each for each in sent[one] if each.priority == priority and each in begun] == begun
    counts = Counter(fate for fates in witness.fates.values() for fate in fates)
    assert counts["Returned"] > 5
    assert counts["Cancelled"] > 2
    assert counts["put back"] > 0
    assert counts["withdrawn"] > 2
    assert refused < 350
    assert 0 == scheduler.slots_taken
    assert 0 == scheduler.worker_count
    await host.close()
    await put_away(kept)


class Rehearsal(Play):
    """Each turn waits until it is told how to end."""

    scheduler: Troupe

    def __init__(self) -> None:
        super().__init__()
        self.running: dict[Someone, Envelope] = {}
        self.cues: dict[Envelope, anyio.Event] = {}
        self.again: set[Envelope] = set()
        self.gated: set[Envelope] = set()

    async def handle(self, one: Someone, envelope: Envelope, /) -> object:
        self.running[one] = envelope
        await self.cues.setdefault(envelope, anyio.Event()).wait()
        return None

    def finish(self, one: Someone, envelope: Envelope, ending: Ending, /) -> bool:
        del self.running[one], self.cues[envelope]
        if envelope in self.again:
            self.again.remove(envelope)
            self.scheduler.put_back(one, envelope)
        return envelope not in self.gated


class Prompter:
    """One actor as it should be: what waits in which lane, what runs, whether it is held or suspended."""

    def __init__(self) -> None:
        self.lanes = Reference()
        self.running: Envelope | None = None
        self.is_held = False
        self.is_suspended = False

    @property
    def may_begin(self) -> bool:
        users = any(self.lanes.lanes[priority] for priority in (HIGH, NORMAL, LOW))
        return not self.running and not self.is_held and bool(self.lanes.lanes[CONTROL] or users > self.is_suspended)

    @property
    def phase(self) -> Phase:
        if self.running:
            return Phase.RUNNING
        if self.is_held:
            return Phase.HELD
        if self.may_begin:
            return Phase.READY
        return Phase.SUSPENDED if self.is_suspended else Phase.IDLE


VERBS = ["submit", "control", "end", "again", "hold", "release", "withdraw", "suspend", "resume", "wait", "ask"]
scripts = st.lists(
    st.tuples(
        st.sampled_from([*VERBS, "submit", "submit", "submit", "end", "end", "hold", "release", "release"]),
        st.integers(0, 2),
        st.sampled_from([HIGH, NORMAL, LOW]),
    ),
    min_size=20,
    max_size=60,
)


def test_every_verb_does_what_a_small_model_says(backend: str) -> None:
    done = Counter[str]()

    @settings(deadline=None, max_examples=25)
    @given(scripts, st.sampled_from([None, 1, 2]))
    def rehearsals(script: list[tuple[str, int, int]], turns_max: int | None) -> None:
        anyio.run(rehearse, script, turns_max, done, backend=backend)

    rehearsals()

    assert [verb for verb in VERBS if not done[verb]] == [], done


async def rehearse(script: list[tuple[str, int, int]], turns_max: int | None, done: Counter[str]) -> None:
    play = Rehearsal()
    actors = [actor() for _ in range(3)]
    prompters = {one: Prompter() for one in actors}
    async with staged(play=play, turns_max=turns_max) as stage:
        scheduler = play.scheduler = stage.scheduler
        away = set[Someone]()
        for what, which, priority in [*script, ("end all", 0, 0)]:
            one = actors[which]
            prompter = prompters[one]
            lanes = prompter.lanes
            match what:
                case "submit" | "control":
                    envelope = Envelope(object(), stage.host.promise(), size_bytes=which + 1, priority=priority)
                    if what == "control":
                        scheduler.submit_control(one, envelope)
                    else:
                        scheduler.submit(one, envelope)
                    lanes.lanes[envelope.priority].append(envelope)
                case "end" | "again" | "hold" if prompter.running:
                    if what == "again":
                        play.again.add(prompter.running)
                        lanes.lanes[prompter.running.priority].insert(0, prompter.running)
                    if what == "hold":
                        play.gated.add(prompter.running)
                        prompter.is_held = True
                    away.discard(one)
                    play.cues[prompter.running].set()
                    prompter.running = None
                case "release" if prompter.is_held:
                    prompter.is_held = False
                    scheduler.release(one)
                case "withdraw" if lanes.everything():
                    gone = lanes.everything()[-1 - priority % len(lanes.everything())]
                    assert scheduler.withdraw(one, gone)
                    lanes.keep([each for each in lanes.everything() if each is not gone])
                case "suspend" | "resume":
                    prompter.is_suspended = what == "suspend"
                    getattr(scheduler, what)(one)
                case "ask" if prompter.running:
                    if one in away:
                        away.remove(one)
                        scheduler.regain_slot(one)
                    else:
                        away.add(one)
                        scheduler.give_up_slot(one)
                case "wait":
                    await stage.clock.advance(1)
                case "end all":
                    for each in actors:
                        scheduler.resume(each)
                        prompters[each].is_suspended = False
                        if prompters[each].is_held:
                            prompters[each].is_held = False
                            scheduler.release(each)
                case _:
                    continue
            done[what] += 1
            await settle()
            agree(play, prompters, turns_max, away)
        while play.running:
            for one, envelope in tuple(play.running.items()):
                play.gated.discard(envelope)
                away.discard(one)
                play.cues[envelope].set()
                prompters[one].running = None
            await settle()
            agree(play, prompters, turns_max, away)
        assert (0, 0) == scheduler.totals
        assert all(one.is_idle for one in actors)


def agree(play: Rehearsal, prompters: dict[Someone, Prompter], turns_max: int | None, away: set[Someone]) -> None:
    for one, prompter in prompters.items():
        if prompter.may_begin and (running := play.running.get(one)) is not None:
            assert prompter.lanes.take(users=not prompter.is_suspended) is running
            prompter.running = running
        assert prompter.running is play.running.get(one)
        assert prompter.lanes.in_order() == play.scheduler.waiting(one)
    taken = sum(prompter.running is not None and one not in away for one, prompter in prompters.items())
    assert taken == play.scheduler.slots_taken
    if turns_max is None or taken < turns_max:
        assert not any(prompter.may_begin for prompter in prompters.values()), "room, and nobody begins"
        assert [prompter.phase for prompter in prompters.values()] == [one.phase for one in prompters]
    users = [
        each for prompter in prompters.values() for each in prompter.lanes.everything() if each.priority != CONTROL
    ]
    assert (len(users), sum(each.size_bytes for each in users)) == play.scheduler.totals

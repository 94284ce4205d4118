"""One file, the runtimes that live on it one after the other, and everybody who sends, stops, reads and leaves.

Time stands still but where a step lets it pass, and a step ends when everybody waits: so a program of steps is played
again whenever it fails.
"""

import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskGroup
from anyio.from_thread import BlockingPortal

from salon import Message, NotApplied, OutcomeUnknown, ReplayIncomplete, Runtime, SalonError, SessionHandle, Settings
from salon.info import microseconds
from salon.testing import FaultPoint, FaultyStore, SeededChance, SeededReady, VirtualClock
from salon.testing.stillness import wait_until_still
from salon_persistence.memory import MemoryFile, MemoryStore
from salon_persistence.store import ByPublicId, Store
from tests.stateful.delivery_actor import KINDS, Desk, Office, Traces
from tests.stateful.delivery_hearing import NOT_ACCEPTED
from tests.stateful.delivery_model import Sent, Story
from tests.stateful.delivery_reading import Reading, name_of
from tests.stateful.delivery_steps import SESSIONS, Mode, Send, Step
from tests.stateful.delivery_store import PromptStore

SETTINGS = Settings(tick_s=0.5, drain_deadline_s=3, crash_budget=1000, turn_timeout_s=60)
ROUNDS_MAX = 100_000
CLOSING_STEPS_MAX = 40
SETTLING_STEPS_MAX = 30
DEADLINE_S = 1.0


@dataclass
class Call:
    """One send, from its beginning to its answer; or one reader."""

    sent: Sent
    mode: str
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    turn: str | None = None
    reading: Reading | None = None
    is_ended: bool = False


class Life:
    """One runtime, and the store that may fail it."""

    def __init__(self, world: "World", plan: Sequence[FaultPoint], seed: int) -> None:
        self.store = FaultyStore(world.new_store(), plan)
        self.is_closing = False
        self.handles: dict[str, SessionHandle[Traces]] = {}
        self.runtime = Runtime(
            Office, store=self.store, deps=world.desk, settings=SETTINGS, clock=world.clock, chance=world.chance,
            ready=lambda: SeededReady(seed),
        )  # fmt: skip

    @property
    def troubles(self) -> set[str]:
        """What may become of messages for the store's sake."""
        if not self.store.fired:
            return set()
        is_death_alone = all(point.effect in ("die", "stall") for point in self.store.fired)
        return {"trouble"} if is_death_alone else {"trouble", "bad answers"}


class World:
    """For one event loop."""

    def __init__(self, group: TaskGroup, portal: BlockingPortal | None, folder: Path, did: Counter[str]) -> None:
        self.clock = VirtualClock()
        self.chance = SeededChance(1)
        self.did = did
        self.desk = Desk(self.clock.sleep, self._begins, self._ends)
        self.stories = {name: Story() for name in SESSIONS}
        self.calls: list[Call] = []
        self.life: Life
        self._group = group
        self._portal = portal
        self._path = folder / "delivery.db"
        self._file = MemoryFile()
        self._wrong: list[str] = []
        self._begun: set[tuple[str, int]] = set()
        self._busy: set[str] = set()
        self._sends: dict[str, Send] = {}

    def new_store(self) -> Store:
        wall_us, random_bytes = (lambda: microseconds(self.clock.wall())), self.chance.random_bytes
        if self._portal is not None:
            return PromptStore(self._portal, self._path, wall_us, random_bytes)
        return MemoryStore(self._file, wall_us=wall_us, random_bytes=random_bytes)

    # What handlers say

    def _begins(self, session: str, turn: str, attempt: int) -> None:
        self.did["began"] += 1
        if session in self._busy:
            self._wrong.append(f"two turns of {session} run at once")
        if (turn, attempt) in self._begun:
            self._wrong.append(f"attempt {attempt} of {turn} begins twice")
        self._busy.add(session)
        self._begun.add((turn, attempt))

    def _ends(self, session: str) -> None:
        self._busy.discard(session)

    # Lives

    async def open(self, plan: Sequence[FaultPoint], seed: int) -> None:
        self._busy.clear()
        self.life = Life(self, plan, seed)
        await self.life.runtime.open()
        try:
            for name in SESSIONS:
                self.life.handles[name] = await self.life.runtime.get_or_create(Office, name=name)
        except SalonError:
            assert self.life.store.is_dead
        await self.rest()
        if self.life.store.is_dead:
            self.did["died at once"] += 1
            await self.close()
            await self.open((), seed)

    async def close(self) -> None:
        self.life.is_closing = True
        for story in self.stories.values():
            story.happens("end of life")
        closed = anyio.Event()
        self._group.start_soon(self._close, closed)
        for _ in range(CLOSING_STEPS_MAX):
            self.life.store.release()
            await self.pass_time(0.5)
            if closed.is_set():
                break
        assert closed.is_set(), "The runtime did not close."
        self._file.owner = None
        await self.rest()
        assert all(call.is_ended for call in self.calls), "somebody was not answered at the end of a life"

    async def _close(self, closed: anyio.Event) -> None:
        await self.life.runtime.close()
        closed.set()

    async def bury(self) -> None:
        """After a failure: leave no task behind."""
        with suppress(Exception):
            self.life.store.die()
            await self.close()

    async def pass_time(self, seconds: float) -> None:
        await self.clock.advance(seconds)
        await self.rest()

    async def rest(self) -> None:
        await wait_until_still(ROUNDS_MAX)

    # Senders

    async def send(self, send: Send, again: Sent | None = None) -> None:
        name = SESSIONS[send.session] if again is None else again.session
        story = self.stories[name]
        if send.overlap in ("interrupt", "rollback"):
            story.happens(send.overlap)
        sent = again or self._new(send, name)
        why = {send.overlap or "", "timeout" if send.is_hurried else ""} & {"reject", "timeout"}
        sent.why |= why | self.life.troubles
        story.sent[sent.element] = sent
        self._sends[sent.element] = send
        call = Call(sent, send.mode)
        self.calls.append(call)
        self._group.start_soon(self._guarded, self._call, call, send)
        await self.rest()

    async def resend(self, sent: Sent, mode: Mode, *, is_same: bool) -> None:
        """Under the same key: the same message, or another one."""
        first = self._sends[sent.element]
        send = replace(first, mode=mode, overlap=None, is_hurried=False)
        if is_same:
            await self.send(send, again=sent)
            return
        for other in self.stories[sent.session].sent.values():
            if other.key == sent.key:
                other.why.add("conflict")
        element = f"{sent.session}{len(self.calls)}"
        changed = Sent(element, sent.session, sent.kind, sent.lane, sent.chunks, sent.key, {*sent.why, "conflict"})
        await self.send(send, again=changed)

    def _new(self, send: Send, session: str) -> Sent:
        number = len(self.calls)
        element = f"{session}{number}"
        key = f"key{number}" if send.is_keyed else None
        why = {"well"}
        if send.ends != "well":
            why.add("refused" if send.ends == "refused" else "raised")
        if send.kind == "quick":
            why |= {"raised", "refused"}  # somebody's with whom it is merged
        return Sent(element, session, send.kind, send.priority, send.chunks, key, why)

    async def _guarded(self, do: Callable[..., Awaitable[None]], call: Call, *args: Any) -> None:
        with call.scope:
            try:
                await do(call, *args)
            except AssertionError as wrong:
                self._wrong.append(str(wrong))
            except Exception as error:  # nothing but salon's errors may reach a caller
                self._wrong.append(f"{call.sent.element} met {error!r}")
            finally:
                call.is_ended = True

    async def _call(self, call: Call, send: Send) -> None:
        sent, handle = call.sent, self.life.handles[call.sent.session]
        said = {"element": sent.element, "chunks": send.chunks, "takes_s": send.takes_s, "ends": send.ends}
        message = KINDS[send.kind].model_validate(said)
        how: dict[str, Any] = {
            "key": sent.key, "priority": sent.lane, "overlap": send.overlap,
            "timeout_s": DEADLINE_S if send.is_hurried else None,
        }  # fmt: skip
        try:
            reply = await self._send_by[call.mode](self, call, handle, message, how)
        except ReplayIncomplete as gap:
            self._hear(call, name_of(gap.outcome))
        except SalonError as error:
            self._hear(call, type(error).__name__)
        else:
            if reply is not None:
                assert sent.element in reply.split(" "), f"{sent.element} got the reply {reply!r}"
                self._hear(call, "done")

    async def _ask(self, call: Call, handle: SessionHandle[Traces], message: Message[str], how: Any) -> str | None:
        return await handle.ask(message, **how)

    async def _tell(self, call: Call, handle: SessionHandle[Traces], message: Message[str], how: Any) -> str | None:
        receipt = await handle.tell(message, **how)
        self._accepted(call, receipt.turn)
        return await receipt.wait()

    async def _stream(self, call: Call, handle: SessionHandle[Traces], message: Message[str], how: Any) -> str | None:
        call.reading = Reading(call.sent)
        async with handle.stream(message, **how) as events:
            async for event in events:
                call.reading.take(event)
                if call.turn is None:
                    self._accepted(call, event.turn)
            self._hear(call, call.reading.outcome or "nothing")
        return None

    _send_by: dict[str, Callable[..., Awaitable[str | None]]] = {"ask": _ask, "tell": _tell, "stream": _stream}

    def _accepted(self, call: Call, turn: str) -> None:
        call.turn = turn
        story = self.stories[call.sent.session]
        if turn not in story.accepted:
            story.accepted[turn] = call.sent
            self.did["accepted"] += 1

    def _hear(self, call: Call, name: str) -> None:
        self.did[name] += 1
        story = self.stories[call.sent.session]
        call.sent.why |= self.life.troubles
        if self.life.store.is_dead:
            call.sent.why |= {"trouble", "end of life"}
        accepted = call.turn is not None or (call.mode == "ask" and name not in NOT_ACCEPTED)
        story.hear(call.sent, name, call.turn, accepted=accepted)

    async def leave(self, call: Call) -> None:
        call.scope.cancel()
        await self.rest()

    async def attach(self, call: Call) -> None:
        """Come back as the reader that has left, or as a new one."""
        reading = replace(call.reading) if call.reading is not None else Reading(call.sent)
        again = Call(call.sent, "attach", turn=call.turn, reading=reading)
        self.calls.append(again)
        self._group.start_soon(self._guarded, self._attach, again)
        await self.rest()

    async def _attach(self, call: Call) -> None:
        assert call.turn is not None
        assert call.reading is not None
        if call.reading.outcome is not None:
            call.reading = Reading(call.sent)
        try:
            handle = self.life.handles[call.sent.session]
            async with handle.attach(call.turn, after=call.reading.cursor) as events:
                async for event in events:
                    call.reading.take(event)
            assert call.reading.outcome is not None, "a stream ended without an outcome"
            self._hear(call, call.reading.outcome)
        except ReplayIncomplete as gap:
            self.did["gap"] += 1
            self._hear(call, name_of(gap.outcome))
        except SalonError as error:
            self._hear(call, type(error).__name__)

    async def stop(self, name: str, turn: str | None) -> None:
        self.stories[name].happens("stop")
        self._group.start_soon(self._stop, name, turn)
        await self.rest()

    async def _stop(self, name: str, turn: str | None) -> None:
        try:
            await self.life.handles[name].stop(turn)
        except SalonError as error:
            self._wrong.append(f"stop met {error!r}")

    # Looking

    async def look(self) -> None:
        """Beside whatever is under way: what is there, and what receipts say of it."""
        life = self.life
        for name, story in self.stories.items():
            for trouble in life.troubles:
                story.happens(trouble)
            handle = life.handles[name]
            story.see((await handle.peek()).state.lines.tail(200))
            for turn, sent in story.accepted.items():
                await self._ask_after(handle, story, turn, sent)
            story.check()
        assert self._wrong == [], self._wrong

    async def _ask_after(self, handle: SessionHandle[Traces], story: Story, turn: str, sent: Sent) -> None:
        try:
            outcome = await handle.outcome(turn)
        except NotApplied:
            story.hear(sent, "NotApplied", turn, accepted=True)
        except OutcomeUnknown:
            pass
        else:
            if outcome is not None:
                story.hear(sent, name_of(outcome), turn, accepted=True)

    async def settle(self) -> None:
        """Everybody is answered in the end, and each message that was accepted has met its fate."""
        for _ in range(SETTLING_STEPS_MAX):
            self.life.store.release()
            await self.pass_time(2)
            if self.life.store.is_dead or (await self._is_settled() and not await self._left()):
                break
        if self.life.store.is_dead:
            return
        await self.look()
        open_calls = [call.sent.element for call in self.calls if not call.is_ended]
        assert not open_calls, f"{open_calls} were never answered"
        for story in self.stories.values():
            story.judge()

    async def _is_settled(self) -> bool:
        await self.look()
        fates = [story.fate(sent, turn) for story in self.stories.values() for turn, sent in story.accepted.items()]
        return None not in fates and all(call.is_ended for call in self.calls)

    async def check_nothing_left(self) -> None:
        left = await self._left()
        assert not left, f"{left} is left of messages that have ended"

    async def _left(self) -> list[object]:
        """In the store: messages that wait, and what running turns keep there."""
        left = list[object]()
        for handle in self.life.handles.values():
            stored = await self.life.store.inner.load(ByPublicId(handle.session_id), {})
            assert stored is not None
            left += [*stored.inbox, *stored.progress]
        return left


async def play(steps: Sequence[Step], portal: BlockingPortal | None, did: Counter[str]) -> None:
    """One program, from an empty file to the end of everybody.

    Raises:
        AssertionError: Something was not as the model says.
    """
    wrong: list[BaseException] = []
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory()) if portal is not None else "."
        async with anyio.create_task_group() as group:
            world = World(group, portal, Path(folder), did)
            try:
                await _play(world, steps)
            except BaseException as error:  # raised below, for the group would wrap it
                wrong.append(error)
                await world.bury()
            group.cancel_scope.cancel()
    if wrong:
        raise wrong[0]


async def _play(world: World, steps: Sequence[Step]) -> None:
    await world.open((), 0)
    await world.close()
    await world.open((), 0)
    for step in steps:
        await step.take(world)
        if world.life.store.is_dead:
            world.did["died by plan"] += 1
            await reopen(world)
        await world.look()
    await world.settle()
    await reopen(world)
    await world.settle()
    await world.check_nothing_left()
    await world.close()


async def reopen(world: World) -> None:
    """The store is well from now on."""
    await world.close()
    await world.open((), 0)

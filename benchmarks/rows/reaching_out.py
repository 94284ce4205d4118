"""A turn that reaches beyond its session: `turn.tell` to another one, and `turn.post` to its `@deliver`; SQLite, FULL.

An errand is an ask of one session, until what it has sent has arrived: until the other session's handler has run, or
the deliverer was called. One errand in flight per pair or session; 1 of them, and 100.
Against it, for `turn.tell`: two durable asks, one of each session, one after the other; for `turn.post`: one durable
ask. That is what a host would do without them, and it loses the second part when it dies in between.

Sketch: told from a turn, the row comes into the inbox in the sender's own commit; then its attempt is marked, and its
handler runs: two commits in a row until then, as for the two asks, and a third that ends it, beside the next errand.
A posted row is durable with the turn and delivered after it: its attempt is counted in a commit before the deliverer is
called, and its end in another one beside the next errand.
Alone it is flushes that are waited for; with 100 the interpreter is the slowest resource: three records for one.

Does not show: deliveries that fail, receivers that are not in memory, several posts of one turn.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import anyio

from benchmarks.bench import Bench
from benchmarks.bots import Note
from benchmarks.meter import Ask, Sample, on, take_turns, timed
from benchmarks.place import fresh_folder, sqlite_url
from benchmarks.rows.durable_ask import texts
from salon import Message, Outgoing, Runtime, Session, SessionHandle, deliver, receive

PAIRS = (1, 100)
TELLS, ASKS_TWICE = "turn.tell", "two asks"
POSTS, ASKS = "turn.post", "an ask"


class Relay(Message[None], name="relay"):
    """Is told to the other session by the turn of this one."""

    to: str
    place: int
    text: str


class Post(Message[None], name="post"):
    place: int
    text: str


class Arrive(Message[None], name="arrive"):
    place: int
    text: str


class Letter(Outgoing, name="letter"):
    place: int
    text: str


@dataclass
class Places:
    """Where those wait who have sent something, until it has arrived."""

    arrivals: dict[int, anyio.Event] = field(default_factory=dict[int, anyio.Event])

    def expect(self, place: int) -> anyio.Event:
        arrival = self.arrivals[place] = anyio.Event()
        return arrival

    def arrived(self, place: int) -> None:
        if place in self.arrivals:
            self.arrivals.pop(place).set()


class Correspondent(Session[Note, Places], name="correspondent"):
    @receive
    async def relay(self, message: Relay) -> None:
        self.state.text = message.text
        self.turn.tell(message.to, Arrive(place=message.place, text=message.text))

    @receive
    async def post_(self, message: Post) -> None:
        self.state.text = message.text
        self.turn.post(Letter(place=message.place, text=message.text))

    @receive
    async def arrive(self, message: Arrive) -> None:
        self.state.text = message.text
        self.deps.arrived(message.place)

    @deliver
    async def carry(self, out: Letter) -> None:
        self.deps.arrived(out.place)


def run(bench: Bench) -> None:
    with fresh_folder(bench.folder) as folder:
        cells: dict[tuple[str, str, int], Callable[[], Sample]] = {
            (backend, way, n): partial(in_folder, folder, backend, way, n, bench.effort.seconds)
            for backend in bench.backends
            for way in WAYS
            for n in PAIRS
        }
        found = take_turns(bench.report, "errands", bench.effort, cells)
    for backend in bench.backends:
        for way, against, whose in ((TELLS, ASKS_TWICE, "pair"), (POSTS, ASKS, "session")):
            for n in PAIRS:
                ours, bare = found[backend, way, n], found[backend, against, n]
                case = f"{way}, {n} {whose}{'s' if n > 1 else ''}"
                bench.more_is_better(backend, case, "errands/s", ours["per_s"], against=against, bare=bare["per_s"])
                bench.less_is_better(backend, case, "ms p50", ours["p50_ms"], against=against, bare=bare["p50_ms"])
                bench.less_is_better(backend, case, "µs CPU", ours["cpu_us"], against=against, bare=bare["cpu_us"])


def in_folder(parent: Path, backend: str, way: str, pairs: int, seconds: float) -> Sample:
    with fresh_folder(parent) as folder:
        return on(backend, partial(measured, folder, WAYS[way], pairs, seconds))


async def measured(folder: Path, errand: "Errand", pairs: int, seconds: float) -> Sample:
    places = Places()
    async with Runtime(Correspondent, store=sqlite_url(folder), deps=places) as runtime:
        ours = [await runtime.create(Correspondent) for _ in range(pairs)]
        theirs = [await runtime.create(Correspondent) for _ in range(pairs)]
        pairing = enumerate(zip(ours, theirs, strict=True))
        return await timed([errand(place, *pair, places) for place, pair in pairing], seconds)


Handle = SessionHandle[Note]
Errand = Callable[[int, Handle, Handle, Places], Ask]


def telling(place: int, ours: Handle, theirs: Handle, places: Places) -> Ask:
    text = texts()

    async def errand() -> None:
        arrival = places.expect(place)
        await ours.ask(Relay(to=theirs.session_id, place=place, text=next(text)))
        await arrival.wait()

    return errand


def asking_twice(place: int, ours: Handle, theirs: Handle, places: Places) -> Ask:
    text = texts()

    async def errand() -> None:
        said = next(text)
        await ours.ask(Arrive(place=place, text=said))
        await theirs.ask(Arrive(place=place, text=said))

    return errand


def posting(place: int, ours: Handle, theirs: Handle, places: Places) -> Ask:
    text = texts()

    async def errand() -> None:
        arrival = places.expect(place)
        await ours.ask(Post(place=place, text=next(text)))
        await arrival.wait()

    return errand


def asking(place: int, ours: Handle, theirs: Handle, places: Places) -> Ask:
    text = texts()

    async def errand() -> None:
        await ours.ask(Arrive(place=place, text=next(text)))

    return errand


WAYS: dict[str, Errand] = {TELLS: telling, ASKS_TWICE: asking_twice, POSTS: posting, ASKS: asking}

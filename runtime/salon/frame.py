"""The frame of one running turn: its draft and what belongs to it, closed when the turn is over."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from math import inf
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, JsonValue

from salon.delivery import Delivery, no_delivery
from salon.draft import Draft
from salon.errors import ConfigurationError, TurnOver
from salon.grace import Grace
from salon.info import SessionInfo, moment
from salon.staging import Staged
from salon.turn import Turn
from salon.wall import Wall

if TYPE_CHECKING:
    from salon.checkpoint import Checkpoint
    from salon.cutting import Cutting
    from salon.nesting import Nesting
    from salon.outreach import Outreach
    from salon.progress import Progress
    from salon.resident import Resident
    from salon.turn_envelope import TurnEnvelope
    from salon_actors import Promise

RUNNING: ContextVar[Frame] = ContextVar("salon_running_turn")


@dataclass(frozen=True, slots=True)
class Tools:
    """What every turn of a Runtime may reach for."""

    deps: Any
    monotonic: Callable[[], float]
    wall: Wall
    cutting: Cutting
    progress: Progress
    outreach: Outreach
    grace: Grace
    nesting: Nesting


class Frame:
    """What a Session object reaches through; every use after the turn raises TurnOver."""

    __slots__ = (
        "_turn", "checkpoint", "draft", "emitted", "emitted_bytes", "envelope", "is_checkpointing", "over", "resident",
        "run_until", "staged", "tools", "writing",
    )  # fmt: skip

    def __init__(self, resident: Resident, envelope: TurnEnvelope, draft: Draft, tools: Tools) -> None:
        self.resident = resident
        self.envelope = envelope
        self.over = False
        self.draft = draft
        """For the gate: also when the turn is over."""
        self.tools = tools
        self._turn: Turn | None = None
        self.checkpoint: Checkpoint | None = None
        """The last one that was made, and is durable if it has to be."""
        self.is_checkpointing = False
        """One is on its way to the store."""
        self.emitted: list[JsonValue] | None = None
        """Every chunk of this attempt."""
        self.emitted_bytes = 0
        self.writing: Promise[None] | None = None
        """Settled when the chunks that are on their way to the store have an answer."""
        self.run_until = inf
        """Until when its handler may run, whoever joins it."""
        self.staged: Staged | None = None
        """What goes beyond this session with the commit."""

    def staging(self) -> Staged:
        self.staged = self.staged or Staged()
        return self.staged

    @property
    def turn(self) -> Turn:
        if self._turn is None:
            self._turn = Turn(self)
        return self._turn

    @property
    def state(self) -> BaseModel:
        if self.over:
            self.check("self.state")
        return self.draft.state

    def replace_state(self, state: BaseModel) -> None:
        self.check("self.state")
        self.draft.replace(state)

    @property
    def delivery(self) -> Delivery:
        raise no_delivery()

    @property
    def deps(self) -> Any:
        self.check("self.deps")
        return self.tools.deps

    @property
    def info(self) -> SessionInfo:
        self.check("self.info")
        return self.resident.info()

    def deadline(self) -> datetime:
        self.check("self.turn")
        now = self.tools.monotonic()
        left_us = int((self.envelope.deadline - now) * 1_000_000)
        return moment(self.tools.wall.now_us(now) + left_us)

    def check(self, what: str) -> None:
        if self.over:
            raise TurnOver(self.envelope.turn_id, what)

    def close(self) -> None:
        """Called once the handler has returned, or at the deadline if that comes first."""
        self.over = True
        self._turn = None
        if self.draft.logs:
            self.draft.close(self.envelope.turn_id)


def current_turn() -> Turn:
    """The turn that is running, for tools and graph nodes.

    Raises:
        ConfigurationError: No turn runs here.
    """
    frame = RUNNING.get(None)
    if frame is None:
        raise ConfigurationError("No turn is running here: current_turn() works inside a handler.")
    return frame.turn


def is_in_turn_with(tools: Tools) -> bool:
    """Whether the caller runs in a turn of the runtime with these tools, and that turn is not over."""
    frame = RUNNING.get(None)
    return frame is not None and not frame.over and frame.tools is tools

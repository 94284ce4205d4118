"""The draft: the working copy that one turn changes, and the record of what it changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from salon.errors import StateInvalid
from salon.log import Log, over, stage_of
from salon.log_core import LogCore
from salon.log_stage import LogStage
from salon_persistence.image import SessionImage
from salon_persistence.records import NOTHING, LogDelta

if TYPE_CHECKING:
    from salon.checkpoint import Checkpoint
    from salon.state_codec import StateCodec

NO_LOGS: Mapping[str, Log[Any]] = MappingProxyType({})


class Draft:
    """A state of its own for one turn, over the committed image; nobody sees it but this turn's handler."""

    __slots__ = ("_began", "_codec", "_image", "logs", "state")

    def __init__(
        self, codec: StateCodec[Any], image: SessionImage, logs: Mapping[str, Log[Any]], state: BaseModel
    ) -> None:
        self._codec = codec
        self._image = image
        self._began = state.__dict__.copy()
        self.logs = logs
        self.state = state

    @classmethod
    def over(
        cls,
        codec: StateCodec[Any],
        image: SessionImage,
        cores: Mapping[str, LogCore[Any]],
        ready: BaseModel | None = None,
    ) -> Draft:
        """Equal to the committed state.

        `ready` is what the last turn's bytes were decoded to when they were checked; nobody else holds it.
        """
        logs = _logs(codec, cores)
        if ready is None:
            return cls(codec, image, logs, codec.decode(image.state, logs))
        for name, log in logs.items():
            vars(ready)[name] = log  # not by assignment: the state's class may be frozen, or validate it
        return cls(codec, image, logs, ready)

    @classmethod
    def of_new(
        cls, codec: StateCodec[Any], image: SessionImage, cores: Mapping[str, LogCore[Any]], state: BaseModel
    ) -> Draft:
        """Over an empty image, holding what `state` holds."""
        draft = cls(codec, image, _logs(codec, cores), state)
        draft.replace(state)
        return draft

    def replace(self, state: BaseModel) -> None:
        """A handler assigned a whole new state: its fields count, and so do the items of its logs.

        Raises:
            StateInvalid: It is of another class or not valid, or a log of it belongs to another session, a view or
                an earlier turn. The draft is as it was.
        """
        model = self._codec.model
        if not isinstance(state, model):
            raise StateInvalid(f"The state is a {model.__name__}; a {type(state).__name__} was assigned.")
        replaced = self._codec.decode(self._codec.encode(state), self.logs)
        given = {name: stage_of(getattr(state, name)) for name in self.logs}
        for name, stage in given.items():
            if not stage.is_free and not stage.is_over(stage_of(self.logs[name])):
                raise StateInvalid(
                    f"{model.__name__}.{name} belongs to another session, view or turn: append its items."
                )
        for name, log in self.logs.items():
            _take(log, given[name])
        self.state = replaced
        self._began = {}

    def resume(self, checkpoint: Checkpoint) -> None:
        """Stand where a turn over the same image stood when it made this checkpoint.

        Raises:
            StateInvalid: Its bytes are no state of today's class.
        """
        for delta in checkpoint.logs:
            for log in self.logs.values():
                if stage_of(log).field == delta.field:
                    stage_of(log).resume(delta)
        self.state = self._codec.decode({**self._image.state, **checkpoint.state}, self.logs)
        self._began = {}

    def changes(self, state_bytes_max: int) -> Changes | None:
        """What the turn changed; None when nothing.

        Raises:
            StateInvalid: The state cannot be stored, would not be read back equal, or is too large.
        """
        deltas = self._deltas() if self.logs else ()
        fields = self._codec.encode(self.state, self._began, self._image.state)
        stored = self._image.state
        if fields == stored:
            return Changes(stored, NOTHING, deltas, None, False) if deltas else None
        size = sum(map(len, fields.values()))
        if size > state_bytes_max:
            raise StateInvalid(f"{self._codec.model.__name__} has {size} bytes; the bound is {state_bytes_max}.")
        restored = self._codec.restored(self.state, fields)
        changed = {name: data for name, data in fields.items() if stored.get(name) != data}
        return Changes(fields, changed, deltas, restored, fields.keys() != stored.keys())

    def _deltas(self) -> Sequence[LogDelta]:
        self._check_logs()
        deltas = (stage_of(log).delta() for log in self.logs.values())
        return [delta for delta in deltas if delta is not None]

    def _check_logs(self) -> None:
        for name, log in self.logs.items():
            if self.state.__dict__.get(name) is not log:
                raise StateInvalid(f"{self._codec.model.__name__}.{name} was replaced; use its own verbs, as clear().")

    def close(self, turn: str) -> None:
        """The turn is over: its logs refuse every further use."""
        for log in self.logs.values():
            stage_of(log).close(turn)

    def committed(self) -> None:
        for log in self.logs.values():
            stage_of(log).committed()


def _take(log: Log[Any], given: LogStage[Any]) -> None:
    stage = stage_of(log)
    if given.is_free:
        log.clear()
        stage.adopt(given)
    elif given is not stage:
        stage.become(given)


def _logs(codec: StateCodec[Any], cores: Mapping[str, LogCore[Any]]) -> Mapping[str, Log[Any]]:
    if not cores:
        return NO_LOGS
    return {name: over(codec.templates[name], LogStage(core)) for name, core in cores.items()}


@dataclass(slots=True)
class Changes:
    """What a turn leaves to be committed."""

    fields: Mapping[str, bytes]
    """Every field, encoded."""
    changed: Mapping[str, bytes]
    """Those of them that differ from the committed ones."""
    logs: Sequence[LogDelta]
    restored: BaseModel | None
    """The state as those bytes decode: the next draft, if the turn is committed."""
    whole: bool
    """A field came or went, so that all of them are to be written."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""State and deps of a session are typed by its brackets, and the runtime asks for them. Checked, and never run."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import assert_type

from pydantic import BaseModel

from salon import ChatLine, Conversation, Log, Message, Runtime, Session, receive


@dataclass(frozen=True)
class Deps:
    model: Callable[[str], Awaitable[str]]


@dataclass(frozen=True)
class OtherDeps:
    pass


class Tally(BaseModel):
    hits: int = 0


class Hit(Message[int], name="hit"):
    pass


class Bare(Session, name="bare"):
    @receive
    async def hit(self, message: Hit) -> int:
        assert_type(self.state, Conversation)
        assert_type(self.state.messages, Log[ChatLine])
        assert_type(self.deps, None)
        return 1


class Stateful(Session[Tally], name="stateful"):
    @receive
    async def hit(self, message: Hit) -> int:
        assert_type(self.state, Tally)
        assert_type(self.deps, None)
        self.state = Tally(hits=1)
        self.state = Conversation()  # type: ignore[assignment]
        return self.state.nothing  # type: ignore[attr-defined, no-any-return]


class Needy(Session[Tally, Deps], name="needy"):
    @receive
    async def hit(self, message: Hit) -> int:
        assert_type(self.deps, Deps)
        assert_type(await self.deps.model("hi"), str)
        return self.state.hits


async def model(text: str) -> str:
    return text


assert_type(Runtime(Bare, Stateful, store="memory://"), Runtime)
assert_type(Runtime(Needy, store="memory://", deps=Deps(model)), Runtime)
assert_type(Runtime(Needy, Bare, store="memory://", deps=Deps(model)), Runtime)

Runtime(Needy, store="memory://")  # type: ignore[arg-type]
Runtime(Needy, store="memory://", deps=OtherDeps())  # type: ignore[misc]
Runtime(Bare)  # type: ignore[call-overload]
Runtime(Tally, store="memory://")  # type: ignore[arg-type]


class NoModel(Session[int], name="no-model"):  # type: ignore[type-var]
    pass

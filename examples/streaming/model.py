"""The model: knows what the bots of the shipped conversations have answered, and says it word by word."""

import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import anyio

from examples.demo.dialogues import SHIPPED, Dialogue


def read_dialogues(limit: int | None, path: Path = SHIPPED) -> list[Dialogue]:
    with path.open(encoding="utf-8") as lines:
        return [Dialogue.model_validate_json(line) for line in lines][:limit]


def tokens_of(text: str) -> Sequence[str]:
    """Words with the space behind them."""
    return re.findall(r"\S+\s*", text)


class Model:
    def __init__(self, dialogues: Sequence[Dialogue], token_s: float) -> None:
        self.asked = 0
        self._token_s = token_s
        self._answers = {
            said.text: answered.text
            for dialogue in dialogues
            for said, answered in zip(dialogue.turns, dialogue.turns[1:], strict=False)
        }

    async def __call__(self, text: str) -> AsyncIterator[str]:
        self.asked += 1
        for token in tokens_of(self._answers.get(text, "Thank you, that is all I need to know. Goodbye!")):
            await anyio.sleep(self._token_s)
            yield token

"""Conversations to play, from JSON lines: what the users of a chatbot say, in order."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import AliasChoices, BaseModel, Field

SHIPPED = Path(__file__).parent.parent / "conversations.jsonl"


class Turn(BaseModel):
    speaker: str = Field(validation_alias=AliasChoices("s", "speaker"))
    text: str = Field(validation_alias=AliasChoices("t", "utterance"))


class Dialogue(BaseModel):
    """One line of the file, with short keys or those of the Schema-Guided Dialogue data."""

    id: str = Field(validation_alias=AliasChoices("id", "dialogue_id"))
    turns: list[Turn]


@dataclass(frozen=True, slots=True)
class Conversation:
    id: str
    says: Sequence[str]
    """What the user says; the answers of the file are not played, the bot has its own."""


def read_conversations(path: Path, limit: int | None = None) -> list[Conversation]:
    """The first `limit` conversations of the file, or all.

    Raises:
        ValueError: A line is no dialogue, two have one id, or there is none.
    """
    with path.open(encoding="utf-8") as lines:
        dialogues = [Dialogue.model_validate_json(line) for line in lines if line.strip()][:limit]
    if not dialogues or len({dialogue.id for dialogue in dialogues}) < len(dialogues):
        raise ValueError(f"{path}: there must be dialogues, and each needs an id of its own.")
    return [Conversation(dialogue.id, user_turns(dialogue)) for dialogue in dialogues]


def user_turns(dialogue: Dialogue) -> list[str]:
    return [turn.text for turn in dialogue.turns if turn.speaker[:1].upper() == "U"]

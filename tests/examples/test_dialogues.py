"""Conversations are read from JSON lines, the shipped ones among them."""

import json
from pathlib import Path

import pytest

from examples.demo.dialogues import SHIPPED, read_conversations

SGD: dict[str, object] = {
    "dialogue_id": "1_00000",
    "services": ["Restaurants_2"],
    "turns": [
        {"speaker": "USER", "utterance": "A table for two.", "frames": []},
        {"speaker": "SYSTEM", "utterance": "Where?", "frames": []},
        {"speaker": "USER", "utterance": "Here.", "frames": []},
    ],
}


def test_the_shipped_conversations_are_many_and_varied() -> None:
    conversations = read_conversations(SHIPPED)

    assert len(conversations) >= 100
    assert all(len(conversation.says) >= 3 for conversation in conversations)
    assert len({conversation.id.rpartition("-")[0] for conversation in conversations}) >= 30
    assert sum(not "".join(conversation.says).isascii() for conversation in conversations) >= 10


def test_users_and_bots_take_turns_in_the_shipped_conversations() -> None:
    for line in SHIPPED.read_text(encoding="utf-8").splitlines():
        speakers = [turn["s"] for turn in json.loads(line)["turns"]]

        assert speakers == ["U", "S"] * (len(speakers) // 2) + ["U"] * (len(speakers) % 2)


def test_the_keys_of_the_schema_guided_data_are_understood(tmp_path: Path) -> None:
    (tmp_path / "sgd.jsonl").write_text(json.dumps(SGD) + "\n")

    [conversation] = read_conversations(tmp_path / "sgd.jsonl")

    assert conversation.id == "1_00000"
    assert conversation.says == ["A table for two.", "Here."]


def test_a_limit_reads_the_first_ones() -> None:
    assert read_conversations(SHIPPED, 2) == read_conversations(SHIPPED)[:2]


@pytest.mark.parametrize("text", ["", "no json\n", json.dumps(SGD) + "\n" + json.dumps(SGD) + "\n"])
def test_a_file_that_cannot_be_played_is_an_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text(text)

    with pytest.raises(ValueError):
        read_conversations(tmp_path / "bad.jsonl")

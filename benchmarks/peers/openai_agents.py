"""openai-agents: SQLiteSession, a file; two `add_items` and one `get_items` a turn."""

import asyncio
from importlib import import_module
from typing import Any

from benchmarks.peers.chatting import ANSWERED, READ_BACK, SAID, Task, chat, task

agents: Any = import_module("agents")


def line(role: str, content: str) -> Any:
    return {"role": role, "content": content}


async def main(asked: Task) -> None:
    path = asked.folder / "agents.db"
    sessions = [agents.SQLiteSession(f"s{number}", str(path)) for number in range(asked.sessions)]
    for session in sessions:
        await session.add_items([line("user" if n % 2 == 0 else "assistant", SAID) for n in range(asked.history)])

    async def turn(number: int) -> None:
        session = sessions[number]
        await session.add_items([line("user", SAID)])
        await session.add_items([line("assistant", ANSWERED)])
        await session.get_items(limit=READ_BACK)

    await chat(asked, turn)


asyncio.run(main(task()))

"""google-adk: DatabaseSessionService on SQLite; two `append_event` and one `get_session` a turn."""

import asyncio
from importlib import import_module
from typing import Any

from benchmarks.peers.chatting import ANSWERED, READ_BACK, SAID, Task, chat, task

events: Any = import_module("google.adk.events")
services: Any = import_module("google.adk.sessions")
config: Any = import_module("google.adk.sessions.base_session_service")
types: Any = import_module("google.genai.types")

APP = {"app_name": "bench", "user_id": "u"}


def event(author: str, text: str) -> Any:
    return events.Event(author=author, content=types.Content(role=author, parts=[types.Part(text=text)]))


async def main(asked: Task) -> None:
    service = services.DatabaseSessionService(f"sqlite+aiosqlite:///{asked.folder / 'adk.db'}")
    sessions: list[Any] = [
        await service.create_session(**APP, session_id=f"s{number}") for number in range(asked.sessions)
    ]
    for session in sessions:
        for n in range(asked.history):
            await service.append_event(session, event("user" if n % 2 == 0 else "model", SAID))

    async def turn(number: int) -> None:
        session = sessions[number]
        await service.append_event(session, event("user", SAID))
        await service.append_event(session, event("model", ANSWERED))
        newest = config.GetSessionConfig(num_recent_events=READ_BACK)
        await service.get_session(**APP, session_id=f"s{number}", config=newest)

    await chat(asked, turn)


asyncio.run(main(task()))

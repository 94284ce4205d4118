"""All lines of a conversation, read page by page."""

from examples.demo.bot import Line, Memory
from salon import SessionHandle


async def whole_history(chat: SessionHandle[Memory]) -> list[Line]:
    """Oldest first."""
    page = await chat.history(lambda state: state.lines, limit=100)
    lines = list(page.items)
    while page.next is not None:
        page = await chat.history(lambda state: state.lines, before=page.next, limit=100)
        lines[:0] = page.items
    return lines

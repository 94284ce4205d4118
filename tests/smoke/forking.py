"""A process that opens a Runtime and forks; the child tries every verb and tells how each of them ended.

Run by the test: python -m tests.smoke.forking STORE BACKEND
"""

import json
import os
import sys
from collections.abc import Awaitable, Callable

import anyio

from salon import Runtime, SalonError
from tests.consistency.notebook import Append, Desk, Notebook, read


def drive(get: Callable[[], Awaitable[object]]) -> str:
    """How the verb ends in the child, whose event loop is not to be used any more: at its first step, or never."""
    steps = get().__await__()
    try:
        next(steps)
    except StopIteration:
        return "returned"
    except SalonError as error:
        return f"raised {type(error).__name__}"
    except BaseException as error:
        return f"broke with {type(error).__name__}"
    return "waits"


async def main(store: str) -> None:
    async with Runtime(Notebook, store=store, deps=Desk(anyio.sleep)) as runtime:
        notebook = await runtime.create(Notebook, name="forked")
        await notebook.ask(Append(element="before"))
        reading, writing = os.pipe()
        if (child := os.fork()) == 0:
            told = {
                "ask": drive(lambda: notebook.ask(Append(element="of the child"))),
                "peek": drive(notebook.peek),
                "info": drive(notebook.info),
                "create": drive(lambda: runtime.create(Notebook)),
                "get": drive(lambda: runtime.get(Notebook, notebook.session_id)),
                "find": drive(runtime.find),
            }
            os.write(writing, json.dumps(told).encode())
            os._exit(0)
        os.close(writing)
        said = json.loads(os.read(reading, 1 << 16))
        os.waitpid(child, 0)  # noqa: ASYNC222  # The child has said its last word.
        await notebook.ask(Append(element="after"))
        sys.stdout.write(json.dumps([said, await read(await notebook.peek())]))


if __name__ == "__main__":
    STORE, BACKEND = sys.argv[1:]
    anyio.run(main, STORE, backend=BACKEND)

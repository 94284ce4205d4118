"""What the doomed process tells the parent that survives it, one line each, in the order in which it happened.

    ready                        the runtime is open
    b ELEMENT                    an append leaves its client
    r ELEMENT                    its handler runs
    a ELEMENT PLACE              it was acknowledged at this place
    n ELEMENT                    its handler refused or raised: nothing was applied
    s NAME                       a session of this name was created, for good

An element is `SESSION/ROUND.CLIENT.STEP`. A line goes into the pipe in one piece, before or after the deed that it is
about, so that what the parent reads until the end is all that had happened, in a possible order.
"""

import os
from collections.abc import Iterator


class Pipe:
    """The end that the process writes to. Not buffered: what was written outlives its writer."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def tell(self, *words: object) -> None:
        os.write(self._descriptor, (" ".join(map(str, words)) + "\n").encode())


class Lines:
    """Cuts what is read into lines; a line without its end was not said."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[list[str]]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            yield line.decode().split()


def session_of(element: str) -> str:
    return element.partition("/")[0]

"""KeyboardInterrupt and SystemExit: what must end the process, however deep in a group it arrives."""

from collections.abc import Iterator
from typing import cast


def deadly(error: BaseException) -> KeyboardInterrupt | SystemExit | None:
    """The KeyboardInterrupt or SystemExit that `error` is or holds."""
    for leaf in _leaves(error):
        if isinstance(leaf, KeyboardInterrupt | SystemExit):
            return leaf
    return None


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _leaves(inner)
    else:
        yield error

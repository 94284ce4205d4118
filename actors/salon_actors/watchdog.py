"""The watchdog: tells when the host's loop stands still, and where.

A handler that blocks the loop stops everybody on it, the supervision too: only another thread can see it.
It learns only that the supervision's tick is overdue: an idle loop, whose tick is parked, is not watched.
"""

import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import final

FRAMES: Callable[[], dict[int, FrameType]] = getattr(sys, "_current_frames")  # noqa: B009 - documented, underscore or not
FRAMES_MAX = 64
"""Of the stack, the innermost ones."""


@final
class Watchdog:
    """Looked at by any one thread, told by the loop's own.

    Args:
        monotonic: The clock that the scheduler's ticks are told by; called from the thread that looks.
        loop_thread_id: Of the thread that the loop runs in (`threading.get_ident`).
        report: Told once per stall, in the thread that looks, for how many seconds the loop has stood still,
            and the stack of its thread, outermost call first, as lines of `file:line function`: never values or source.
        limit_s: Seconds without a tick that are a stall; several times the scheduler's `tick_s`.
        frames: What runs in each thread right now, by its id.
    """

    __slots__ = ("_frames", "_limit_s", "_loop_thread_id", "_monotonic", "_report", "_reported", "beat")

    def __init__(
        self,
        monotonic: Callable[[], float],
        loop_thread_id: int,
        report: Callable[[float, str], object],
        limit_s: float,
        *,
        frames: Callable[[], Mapping[int, FrameType]] = FRAMES,
    ) -> None:
        self._monotonic = monotonic
        self._loop_thread_id = loop_thread_id
        self._report = report
        self._limit_s = limit_s
        self._frames = frames
        self._reported: float | None = None
        """The beat after which the loop stood still, when that was last told."""
        self.beat: float | None = None
        """Monotonic seconds of the last tick; None while none is due. Written by the loop's thread alone."""

    def look(self) -> None:
        """Report the loop if it stands still. About twice per `limit_s`, so that a stall is told within 1.5 of them."""
        beat = self.beat  # Read once: the loop's thread may write it at any time.
        if beat is None or beat == self._reported:
            return
        stalled_s = self._monotonic() - beat
        if stalled_s >= self._limit_s and self.beat == beat:  # or this thread was the one that stood still
            self._reported = beat
            self._report(stalled_s, self._stack())

    def _stack(self) -> str:
        lines = list[str]()
        frame = self._frames().get(self._loop_thread_id)
        while frame is not None and len(lines) < FRAMES_MAX:
            lines.append(f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_qualname}")
            frame = frame.f_back
        return "\n".join(reversed(lines))

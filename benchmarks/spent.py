"""What was spent since it was made, or began anew: CPU of the whole process, and wall time."""

import time

from benchmarks.meter import Sample


class Spent:
    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def each(self, done: int) -> Sample:
        """`cpu_us` and `per_s` of one of so many."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return {"cpu_us": cpu / done * 1e6, "per_s": done / wall}

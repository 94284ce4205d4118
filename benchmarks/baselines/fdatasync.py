"""What the disk does: 4 KB written over and over into a file that has its size, each made durable by fdatasync."""

import os
import time
from pathlib import Path

PAGE = b"x" * 4096
PAGES = 256


def per_s(folder: Path, seconds: float) -> float:
    path = folder / "fdatasync"
    path.write_bytes(PAGE * PAGES)
    file = os.open(path, os.O_RDWR)
    try:
        os.fsync(file)
        done, began = 0, time.perf_counter()
        while (passed := time.perf_counter() - began) < seconds:
            os.pwrite(file, PAGE, done % PAGES * len(PAGE))
            os.fdatasync(file)
            done += 1
        return done / passed
    finally:
        os.close(file)
        path.unlink()

"""Where the databases of a run are: a new folder for each cell, gone afterwards."""

import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def fresh_folder(parent: Path) -> Generator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="salon-bench-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'chat.db'}"

"""What a kill leaves behind, at each statement: copies of the files as they are before it."""

import shutil
import sqlite3
from pathlib import Path
from typing import Any

from salon_persistence.sqlite.connection import ErrandConnection


class Camera:
    """Makes connections that copy the files of `path` into folders of their own."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.shots: list[tuple[str, Path]] = []
        """The statement that is about to begin, and the file as it is then."""
        self.is_on = True
        self._path = path
        self._folder = folder
        folder.mkdir()

    def connection(self) -> type[ErrandConnection]:
        camera = self

        class Watched(ErrandConnection):
            def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
                camera.shoot(sql)
                return super().execute(sql, parameters)

            def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
                if sql:
                    camera.shoot(sql)
                return super().executemany(sql, parameters)

        return Watched

    def shoot(self, sql: str) -> None:
        if not self.is_on:
            return
        folder = self._folder / str(len(self.shots))
        folder.mkdir()
        for ending in ("", "-wal"):
            source = self._path.with_name(self._path.name + ending)
            if source.exists():
                shutil.copyfile(source, folder / source.name)
        self.shots.append((sql, folder / self._path.name))

    @property
    def statements(self) -> list[str]:
        """The first three words of each."""
        return [" ".join(sql.split()[:3]) for sql, _ in self.shots]

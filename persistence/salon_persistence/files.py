"""The edge to the file system and the process: the lock of a store's owner, files that only the owner may read.

SQLite's own file is never opened here once SQLite has it: closing it would drop SQLite's POSIX locks.
"""

import fcntl
import os
import stat
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from weakref import ref

from salon_persistence.errors import StoreInUse, StoreUnavailable

PRIVATE = 0o600


class _Process:
    """Asked for its id with each message: the system takes 0.6 µs to tell it, and it changes in a fork only."""

    __slots__ = ("id",)

    def __init__(self) -> None:
        self.look()
        os.register_at_fork(after_in_child=self.look)

    def look(self) -> None:
        self.id = os.getpid()


_process = _Process()


def process_id() -> int:
    """Of the process that asks; a forked child gets another answer."""
    return _process.id


def real_path(path: str | Path) -> Path:
    """Absolute and free of links, so that two names of one file have one lock."""
    return Path(os.path.realpath(path))


def size_of(path: Path) -> int:
    """Bytes in the file; 0 when it is not there.

    Raises:
        StoreUnavailable: Its folder is not there, or the path is no file.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise StoreUnavailable(f"The folder {path.parent} does not exist; create it first.") from None
        return 0
    except OSError as error:
        raise StoreUnavailable(f"{path} cannot be reached: {error.strerror}.") from error
    if not stat.S_ISREG(found.st_mode):
        raise StoreUnavailable(f"{path} is not a file.")
    return found.st_size


def create_private(path: Path) -> None:
    """Make the file, empty, for its owner only, unless it is there already.

    SQLite gives the write-ahead log and its index the permissions of the database.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
    except FileExistsError:
        return
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        os.fchmod(descriptor, PRIVATE)  # The mode above was subject to the umask.
    finally:
        os.close(descriptor)


def permission_warnings(path: Path) -> tuple[str, ...]:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return (f"{path.name} can be read by other users of this machine (mode {mode:04o}); chmod 600 it.",)
    return ()


class OwnerLock:
    """An exclusive flock on `<file>.lock`, which holds between two owners in one process too.

    The file stays when the lock is given up, for deleting it would let two owners lock two files.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._path = database.with_name(database.name + ".lock")
        self._descriptor = -1

    def acquire(self, now_us: int) -> None:
        """Raises StoreInUse, naming the owner, or StoreUnavailable."""
        while self._descriptor < 0:
            descriptor = self._open()
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                holder = os.pread(descriptor, 64, 0)
                os.close(descriptor)
                if isinstance(error, BlockingIOError):
                    raise StoreInUse(_owned(self._database.name, holder, now_us)) from None
                raise StoreUnavailable(f"{self._path} cannot be locked: {error.strerror}.") from error
            if self._is_current(descriptor):
                self._descriptor = descriptor
            else:
                os.close(descriptor)
        os.register_at_fork(after_in_child=partial(_forget, ref(self)))
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{process_id()} {now_us}\n".encode(), 0)

    def release(self) -> None:
        """Unlocks, and does not wait for a forked child to close its copy of the descriptor, which may take a while."""
        if self._descriptor >= 0:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self.forget()

    def forget(self) -> None:
        """Closes the descriptor and leaves the lock to whoever else has one."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> int:
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
            os.fchmod(descriptor, PRIVATE)
        except OSError as error:
            raise _unwritable(self._path, error) from error
        return descriptor

    def _is_current(self, descriptor: int) -> bool:
        """The file may have been deleted between opening and locking it."""
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False


def _forget(lock: "ref[OwnerLock]") -> None:
    """In a forked child: its copy of the descriptor would hold the lock after the owner's death."""
    if (held := lock()) is not None:
        held.forget()


def _unwritable(path: Path, error: OSError) -> StoreUnavailable:
    return StoreUnavailable(f"{path} cannot be created: {error.strerror}.")


def _owned(name: str, holder: bytes, now_us: int) -> str:
    remedy = "One process per file: run one worker (`--workers 1`)."
    try:
        process, since_us = map(int, holder.split())
    except ValueError:
        return f"{name} is owned by another process. {remedy}"
    since, now = (datetime.fromtimestamp(us / 1e6, UTC).astimezone() for us in (since_us, now_us))
    shown = since.strftime("%H:%M" if since.date() == now.date() else "%Y-%m-%d %H:%M")
    return f"{name} is owned by process {process} since {shown}. {remedy}"

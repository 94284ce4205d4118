"""What a store can fail with; the runtime translates each once, where it enters."""


class StoreError(Exception):
    """Base of the errors of this layer. The message names files and numbers, never content of a session."""


class StoreInUse(StoreError):
    """Another Runtime owns the file."""


class StoreUnavailable(StoreError):
    """The store cannot be reached or written now; nothing was applied. It may heal: probe it."""


class StoreFailed(StoreError):
    """An I/O error in a commit: the store stays closed until it is opened anew, for a repeated fsync may lie."""


class NotAStore(StoreError):
    """The file is there, but it is not one of ours; it was left as it is."""


class FormatTooNew(StoreError):
    """The file or a record in it was written by a newer release; it was left as it is."""


class CorruptRecord(StoreError):
    """Bytes of a record do not decode; they were left as they are."""


class NameTaken(StoreError):
    """An active session of the same tenant and type has this natural key."""


class RecordRefused(StoreError):
    """The store would not take this record, and would not take it again."""

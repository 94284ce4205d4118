"""Translation: the errors of a store as public ones, where they enter the runtime and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from salon import errors
from salon_persistence import errors as store_errors


def translated(error: Exception) -> Exception:
    """A store's error as the public one, with its cause; anything else as it is."""
    if not isinstance(error, store_errors.StoreError):
        return error
    public = _PUBLIC.get(type(error), errors.StoreUnavailable)(str(error))
    public.__cause__ = error
    if isinstance(error, store_errors.StoreFailed):
        public.retryable = False  # not before the store is opened anew
    return public


_PUBLIC: Mapping[type[Exception], Callable[[str], errors.SalonError]] = MappingProxyType(
    {
        store_errors.StoreInUse: errors.StoreInUse,
        store_errors.StoreUnavailable: errors.StoreUnavailable,
        store_errors.StoreFailed: errors.StoreUnavailable,
        store_errors.NotAStore: errors.Corrupt,
        store_errors.FormatTooNew: errors.SchemaTooNew,
        store_errors.CorruptRecord: errors.Corrupt,
        store_errors.NameTaken: errors.NameTaken,
        store_errors.RecordRefused: errors.NotApplied,
    }
)

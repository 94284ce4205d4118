"""What is wrong with a value, in words that hold nothing of the value."""

from __future__ import annotations

from pydantic import ValidationError


def told(error: Exception, whole: str) -> str:
    """The field and the kind of each fault; `whole` names what has no field. Keys of dictionaries are left out."""
    if not isinstance(error, ValidationError):
        return type(error).__name__
    faults = error.errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(f"{_place(part['loc']) or whole}: {part['type']}" for part in faults)


def _place(loc: tuple[int | str, ...]) -> str:
    """The field, and numbers of items in it; what else a path may hold may be something that was said."""
    return ".".join(str(step) for at, step in enumerate(loc) if at == 0 or isinstance(step, int))

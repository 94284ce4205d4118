"""Outgoing: what leaves the process after the commit of the turn that posted it."""

from __future__ import annotations

from salon.named import Named


class Outgoing(Named):
    """Something that leaves the process: staged with `turn.post`, given to a `@deliver` method after the commit.

    Args (of the class statement):
        name: What is stored and shown; default the class's name.
        former_names: Names it had in older releases.
        schema_version: >= 1; grows when its fields change.
    """

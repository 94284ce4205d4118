"""Chance: where ids come from. An edge module, the only one that reads the system's random source."""

import secrets
from base64 import urlsafe_b64encode
from typing import Protocol


class Chance(Protocol):
    """A source of random numbers; simulation passes a seeded one."""

    def random_bytes(self, n: int, /) -> bytes: ...

    def uniform(self) -> float:
        """At least 0, below 1."""
        ...


class SystemChance:
    """The operating system's random source."""

    def random_bytes(self, n: int, /) -> bytes:
        return secrets.token_bytes(n)

    def uniform(self) -> float:
        return secrets.randbits(53) / (1 << 53)


def session_id(chance: Chance) -> str:
    """128 random bits: nobody guesses one, and yet it is no credential."""
    return "s_" + urlsafe_b64encode(chance.random_bytes(16)).rstrip(b"=").decode()

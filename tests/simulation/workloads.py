"""What clients want of the runtime: one workload each, to be paired with any fault."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """So many clients of so many sessions, each with so many intentions. Chances are out of 100."""

    name: str
    sessions: int
    clients: int
    """Of each session."""
    steps: int
    """Of each client."""
    pause_s: float = 0
    """At most so long between two steps."""
    takes_s: float = 0
    """At most so long does a handler take."""
    refused: int = 5
    raised: int = 5
    read: int = 15
    peeked: int = 15
    late: int = 0
    """Messages whose deadline comes before their handler is done."""
    left: int = 0
    """Callers that go away while they wait."""
    mailbox_messages_max: int = 64
    progress_min: int = 10
    """So many appends are acknowledged, whatever the fault."""


WORKLOADS = (
    Workload(name="chat_steady", sessions=4, clients=2, steps=12, pause_s=0.5, takes_s=0.3),
    Workload(name="one_hot_session", sessions=1, clients=12, steps=8, takes_s=0.02, mailbox_messages_max=6),
    Workload(name="many_cold_sessions", sessions=40, clients=1, steps=3, pause_s=2, takes_s=0.1),
    Workload(
        name="long_conversation", sessions=2, clients=2, steps=70, pause_s=0.05, refused=2, raised=2, read=2, peeked=2
    ),
    Workload(name="impatient_callers", sessions=3, clients=4, steps=10, pause_s=0.1, takes_s=0.2, late=20, left=20),
)

"""What the engine can fail with; the runtime translates each once, where it enters."""


class ActorError(Exception):
    """Base of the errors of this layer. The message holds names and numbers, never content of a message."""


class MailboxFull(ActorError):
    """The message was not accepted: as many as may wait for this actor wait already."""

    def __init__(self, depth: int, bound: int) -> None:
        super().__init__(f"{depth} messages wait; the bound is {bound}.")
        self.depth = depth
        """Messages that waited; the one that runs is not among them."""
        self.bound = bound


class ForeignCancellation(ActorError):
    """A cancellation left a handler, though nobody had cancelled its turn."""

    def __init__(self) -> None:
        super().__init__("A cancellation left the handler, though nobody had cancelled its turn.")


class SchedulerClosed(ActorError):
    """The scheduler is not open, or its host's loop is shutting down; nothing was accepted."""

    def __init__(self) -> None:
        super().__init__("The scheduler is not open.")

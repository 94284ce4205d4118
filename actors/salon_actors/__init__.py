"""The engine: mailboxes, the scheduler of turns, deadlines and the clock. It knows nothing of storage."""

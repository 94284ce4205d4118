"""One module a row: `run(bench)` measures and reports; the docstring has the sketch and what is not shown."""

ROWS = (
    "footprint",
    "actors_ask",
    "runtime_ask",
    "idle_session",
    "store_rows",
    "durable_ask",
    "durable_tell",
    "keyed_ask",
    "overlap",
    "chunks",
    "reaching_out",
    "saturated_loop",
    "chat_turn",
    "long_session",
    "cold_start",
)

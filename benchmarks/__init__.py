"""Benchmarks: what salon costs beside the bare thing, in one run, with machine, versions and commit.

`python -m benchmarks` runs all of `rows/`, each in a process of its own, prints ratios beside their targets, and saves.
What a row measures, its sketch on paper and what it does not show are in its docstring.

CPU-bound figures are `process_time`: the machine may be shared, and a foreign load moves wall time threefold.
Whatever waits for a disk is wall time. Both are medians of repeats that take turns with those of the bare thing.
"""

"""Python's garbage collector, in a process that stays."""

import gc


def spare_the_collector() -> None:
    """What is loaded by now stays: looking through it again would hold everything up for 0.3 s at a time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)

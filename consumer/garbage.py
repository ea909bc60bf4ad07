"""When Python looks for reference cycles that no code can reach any more: by their number, and by time.

Python looks when there are many new objects, whatever their size. An error holds, by its traceback, the local variables
of every call that it left: a page of orders, a batch of records. Some clients keep the error where its own traceback
leads (kafka-python in a future, SQLAlchemy and anyio in a frame), which is a cycle. So a loop that fails leaves few
objects with each try, and a megabyte of orders. While a broker hung, the memory of a poller grew by 1 MB with each
failed publication, and the number of its objects would have brought the end only after 250 of them.
"""

import gc
from collections.abc import Callable
from typing import Final

#: How often a process looks for cycles, however few objects are new. One look takes 4 ms of CPU time for 14,000 objects
#: that are not frozen, and 60 ms for 200,000.
COLLECT_SECONDS: Final = 30.0


#: How many new objects make Python look for cycles. Its own number is 700.
NEW_OBJECTS: Final = 100_000


def collect_less_often_at_start() -> None:
    """Make Python look for reference cycles less often by their number, from the start of a process on.

    Importing the libraries of a command makes 100,000 objects, hardly one of which is garbage. Python looked at them
    again and again, which took a tenth of the time of a short command.
    """
    gc.set_threshold(NEW_OBJECTS, 10, 10)


def spare_what_is_imported() -> None:
    """Make Python never look for cycles among the objects that exist by now: what the imports made.

    It looks once more when it ends, which took a quarter of the time of a short command.
    """
    gc.freeze()


def collect_less_often() -> None:
    """Make Python look for reference cycles less often by their number.

    A batch of apply makes tens of thousands of objects, and hardly one of them is in a cycle. Looking for cycles after
    every 700 new objects took a tenth of the time (docs/performance.md).
    """
    gc.collect()
    gc.freeze()  # the objects that exist by now stay, so the collector need not visit them
    gc.set_threshold(NEW_OBJECTS, 10, 10)


def collect_by_time(stopped_within: Callable[[float], bool]) -> None:
    """Look for reference cycles every COLLECT_SECONDS, until the process stops.

    `stopped_within` waits for so many seconds, and returns whether the process was asked to stop.
    """
    while not stopped_within(COLLECT_SECONDS):
        gc.collect()

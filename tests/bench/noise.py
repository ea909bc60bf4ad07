"""The machine's own noise: one fixed piece of work before and after each figure, and the load average.

On a quiet machine every sample takes the same time. Where the elapsed time is longer than the CPU time, other programs
had the cores; where the CPU time differs from sample to sample, the cores themselves were slower: a virtual machine
shares them, and their caches, with others.
"""

import json
import os
import time
from typing import Final

from tests.bench.lines import Line

#: A sample parses this text so often: about a tenth of a second.
TEXT: Final = json.dumps([{"number": number, "text": "abc" * 10} for number in range(200)])
TIMES: Final = 1_000


class Noise:
    """Takes the first sample when it is made."""

    def __init__(self) -> None:
        self._elapsed: list[float] = []
        self._cpu: list[float] = []
        self._load: list[float] = []
        self.sample()

    def sample(self) -> None:
        """Do the work once, and note how long it took. The load is that of the minute before."""
        self._load.append(os.getloadavg()[0])
        began, cpu = time.perf_counter(), time.process_time()
        for _ in range(TIMES):
            json.loads(TEXT)
        self._elapsed.append((time.perf_counter() - began) * 1000)
        self._cpu.append((time.process_time() - cpu) * 1000)

    def lines(self) -> list[Line]:
        return [
            Line("noise", "one piece of work, before and after each figure", "ms", self._elapsed),
            Line("noise", "its CPU", "ms", self._cpu),
            Line("noise", "load average over a minute, ours included", "", self._load),
        ]

"""Runs one process of the full demo: python -m consumer.cli.member PID run ROLE --config FILE

On Linux it is asked to stop when its parent, the process PID, ends in any way. A demo or a benchmark that is killed
cannot stop its processes itself.
"""

import ctypes
import os
import signal
import sys
from typing import Final

from consumer.cli import app

#: Of prctl: which signal a process gets when its parent ends.
_PR_SET_PDEATHSIG: Final = 1


def main() -> None:
    parent = int(sys.argv.pop(1))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            return  # the parent ended before
    app.main()


if __name__ == "__main__":
    main()

"""All sicknesses, in the order in which they are played."""

from tests.sick.engines import ENGINES
from tests.sick.processes import PROCESSES
from tests.sick.remotes import REMOTES
from tests.sick.sickness import Sickness

ALL: tuple[Sickness, ...] = (*REMOTES, *PROCESSES, *ENGINES)
BY_NAME = {one.name: one for one in ALL}

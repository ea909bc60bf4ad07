"""All sicknesses, in the order in which they are played."""

from dataclasses import replace

from tests.sick.engines import ENGINES
from tests.sick.processes import PROCESSES
from tests.sick.remotes import REMOTES
from tests.sick.sickness import Sickness

ALL: tuple[Sickness, ...] = (*REMOTES, *PROCESSES, *ENGINES)
BY_NAME = {one.name: one for one in ALL}
#: Those of the short form, as long as they last in it.
SHORT = tuple(replace(one, seconds=one.short_seconds) for one in ALL if one.short_seconds)

"""All sicknesses, in the order in which they are played."""

from dataclasses import replace

from tests.sick.engines import ENGINES
from tests.sick.processes import PROCESSES
from tests.sick.records import RECORDS
from tests.sick.remotes import REMOTES
from tests.sick.sickness import Sickness
from tests.sick.strangers import STRANGERS

ALL: tuple[Sickness, ...] = (*REMOTES, *STRANGERS, *RECORDS, *PROCESSES, *ENGINES)
BY_NAME = {one.name: one for one in ALL}
#: Those of the short form, as long as they last in it.
SHORT = tuple(replace(one, seconds=one.short_seconds) for one in ALL if one.short_seconds)


def markdown() -> str:
    """The rows of docs/guarantees.md."""
    lines = ["| sickness | who is sick | what is right | may wait meanwhile |", "|---|---|---|---|"]
    lines += [f"| `{one.name}` | {one.part} | {one.row} | {one.touches.text} |" for one in ALL]
    return "\n".join(lines)

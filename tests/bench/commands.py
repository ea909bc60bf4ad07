"""CPU of two commands on a small store (P8), beside a process that only imports what every command needs."""

import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from tests.bench.effects import filled
from tests.bench.lines import Line

ORDERS = 20
SETTINGS = """
[store]
url = "sqlite:///{folder}/small.db"
[oms]
base_url = "https://oms.example"
[shops.alpha]
base_url = "https://mirakl.example"
shop_id = 1
api_key_file = "alpha.key"
[shops.alpha.oms]
company_ref_id = 1
api_key_file = "oms.key"
"""
#: What a command cannot do without: the command line, the settings and the store. As the command does, it searches
#: nothing of that for garbage (consumer/garbage.py), which would take two fifths of the time.
FLOOR = "import gc; gc.disable(); import typer, pydantic_settings, sqlalchemy; gc.freeze()"


def measure(folder: Path, rounds: int, lines: IO[str]) -> list[Line]:
    """Run each command so often, in turns."""
    filled(f"sqlite:///{folder}/small.db", "https://mirakl.example", ORDERS, folder, lines).store.close()
    settings = folder / "orderflow.toml"
    settings.write_text(SETTINGS.format(folder=folder))
    # As it is installed, with compiled modules, whatever the environment of the benchmark says.
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
    program = str(Path(sys.executable).with_name("orderflow"))
    commands = {
        "imports": [sys.executable, "-c", FLOOR],
        "orderflow --help": [program, "--help"],
        f"orderflow orders list, {ORDERS} orders": [program, "orders", "list", "--config", str(settings)],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds + 1):
        for name, command in commands.items():
            seconds[name].append(_cpu(command, environment))
    floor, *measured = (values[1:] for values in seconds.values())  # the first round reads files and compiles modules
    what = "only importing typer, pydantic and SQLAlchemy"
    return [
        Line("P8", name, "CPU s", values, what, floor, "ours < 0.3")
        for name, values in zip(list(commands)[1:], measured, strict=True)
    ]


def _cpu(command: Sequence[str], environment: Mapping[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

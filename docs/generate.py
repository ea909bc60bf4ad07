"""Writes the documents that are made from the code: `make docs`. A test compares them with what stands here."""

import ast
import inspect
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

import grimp
from pydantic import BaseModel

from adapters.messages import asyncapi, contract
from consumer.config import Settings, TopicsTable
from consumer.metrics import definitions as metrics
from consumer.operations.doctor import table as doctor
from consumer.stores import GROUP
from statemachine import diagram
from statemachine.commands import CommandKind
from statemachine.reasons import REASONS
from statemachine.states import State
from statemachine.urgency import About
from tests.sick import table as sicknesses

ROOT = Path(__file__).resolve().parent.parent
EVENTS = ROOT / "docs/events"

STATES_PAGE = """\
# States and edges

Made from [statemachine/table.py](../statemachine/table.py) by `make docs`; do not edit.

## What an order manager has to know of each state

The labels are those of Mirakl's seller portal ([mirakl.md](mirakl.md) 4.2). `orderflow orders explain ORDER` says of
one order what it waits for. After a call that was refused or given up in any state:
`orders retry` makes the call again, `orders handled` says that a person did it by hand.

{life}

## Edges

{count} states, {edges} edges. `snapshot`: Mirakl was read. `oms_event`: the OMS reported. `call`: a worker
claimed a command, or brings its result. `act`: a person decided.
An event takes at most one edge, over several states if need be. In the picture, only the
edges that nearly every order takes show their kinds of event.

{table}

```mermaid
{picture}
```
"""

ATTENTION_PAGE = """\
# Attention: what needs a person

An order in trouble keeps its state and gets a reason. `orderflow orders list --attention` lists such orders,
`orderflow orders explain ORDER` shows those of one. **Holds**: these calls are not made while it stands.
**Do**: `now` is first on the list, because goods are made that must be stopped or changed; `deadline` follows, the
nearest first; a reason with `wait` ends by a read.

Made from [statemachine/reasons.py](../statemachine/reasons.py) by `make docs`; do not edit.

{table}
"""

DOCTOR_PAGE = """\
# The doctor: is everything there?

`orderflow doctor` looks at everything that the service needs. It prints a line for each thing: `ok`, `warn` (it works,
and a person should know), `FAIL`, or `skipped` (it cannot be asked, because something else fails first), and what to do
about it. `--json` prints the same as JSON.

Exit code 0: nothing fails. 1: something fails. 2: the configuration or the use is wrong, so nothing was looked at.

- It changes nothing, and creates no order. One exception: a key that belongs to another shop pauses the effects of the
  shop, as `shops check` does. The OMS is asked with a body that is no JSON, of which it can make no order; this is one
  call of the company's budget.
- Mirakl allows A01 and SH21 once a day. The store counts these calls: a second run of a day judges the account by what
  the first one read, and skips SH21; without a store neither is called.
- Checks of different remotes run beside each other. A check that takes longer than 20 s has failed, and nothing more is
  asked of that remote.
- A wrong password of Kafka shows only as a time-out of its client. So a connection and a TLS handshake are tried by
  hand first; what fails after both is the login.
- `kafka.message_size` and `kafka.retention` need the right DescribeConfigs on the topics, which the service does not
  need. Without it they are skipped.
- `--outage-hours`: the longest time for which no consumer may run (72), which `kafka.retention` compares with.

On Kubernetes the Job `orderflow-doctor-VERSION` runs it after the migration ([kubernetes.md](kubernetes.md)).

## What is true where a check is ok

Made from [consumer/operations/doctor/](../consumer/operations/doctor/table.py) by `make docs`; do not edit.

{table}
"""


SETTINGS_PAGE = """\
# Settings

Made from [consumer/config/](../consumer/config/__init__.py) by `make docs`; do not edit.
`orderflow init` writes a first file with those that a shop needs; `orderflow config show` prints which are set, and
where. `orderflow config schema` prints types and limits.

A variable of the environment replaces the value in the file: `ORDERFLOW_WEB__PORT=9000` is `port` in `[web]`, and
`ORDERFLOW_SHOPS__ALPHA__EFFECTS=off` is `effects` in `[shops.alpha]`. An error names the file or the variable, and the
key. A key without a default has to be set, unless its default is none.

{tables}
"""


def documents() -> dict[Path, str]:
    """Path and text of every generated document; the README with its diagram in place."""
    readme = (ROOT / "README.md").read_text()
    picture = f"```mermaid\n{diagram.overview()}\n```"
    return {
        ROOT / "README.md": re.sub(r"```mermaid\n.*?```", lambda _: picture, readme, count=1, flags=re.DOTALL),
        ROOT / "docs/states.md": STATES_PAGE.format(
            count=len(State),
            edges=len(diagram.TABLE),
            table=diagram.markdown(),
            life=diagram.life(),
            picture=diagram.mermaid(),
        ),
        ROOT / "docs/architecture.md": _architecture(),
        ROOT / "docs/guarantees.md": _between(
            (ROOT / "docs/guarantees.md").read_text(), "sicknesses", sicknesses.markdown()
        ),
        ROOT / "docs/metrics.md": metrics.markdown(),
        ROOT / "docs/attention.md": ATTENTION_PAGE.format(table=attention_table()),
        ROOT / "docs/settings.md": SETTINGS_PAGE.format(tables=settings_tables(Settings, "")),
        ROOT / "docs/doctor.md": DOCTOR_PAGE.format(table=doctor_table()),
        EVENTS / "asyncapi.json": _json(asyncapi.document(TopicsTable().model_dump(), GROUP, _examples())),
        **{EVENTS / f"schemas/{name}.json": _json(contract.schema(name)) for name in contract.MODELS},
    }


def doctor_table() -> str:
    """The table of the doctor's checks in Markdown."""
    return "\n".join(["| check | meaning |", "|---|---|", *(f"| `{name}` | {text} |" for name, text in doctor.names())])


def settings_tables(model: type[BaseModel], place: str) -> str:
    """A heading and a table in Markdown for each table of the settings: key, default, meaning."""
    meanings, rows, below = _comments(model), [], []
    for name, field in model.model_fields.items():
        inner = _inner(field.annotation)
        if inner is not None:
            below.append(settings_tables(inner, f"{place}{name}." + "NAME." * (name == "shops")))
        else:
            default = "" if field.is_required() else _in_toml(field.get_default(call_default_factory=True))
            rows.append(f"| `{name}` | {default} | {meanings[name]} |")
    about = [inspect.cleandoc(model.__doc__).replace("\n", " "), ""] if model.__doc__ and place else []
    head = (
        [f"## [{place.rstrip('.')}]", "", *about, "| key | default | meaning |", "|---|---|---|", *rows] if rows else []
    )
    return "\n\n".join(filter(None, ["\n".join(head), *below]))


def _inner(annotation: Any) -> type[BaseModel] | None:
    """The table that a setting is, or that each value of a setting is."""
    for one in (annotation, *get_args(annotation)):
        if isinstance(one, type) and issubclass(one, BaseModel):
            return one
    return None


def _in_toml(value: Any) -> str:
    """A default as the file would hold it."""
    if value is None:
        return "none"
    if isinstance(value, datetime):
        return f"`{value.isoformat()}`"
    return f"`{json.dumps(sorted(value) if isinstance(value, frozenset) else value)}`".replace("|", "\\|")


def _comments(model: type[BaseModel]) -> dict[str, str]:
    """The comment that begins with #: above each field of a table, by the field's name."""
    found, comment = {}, []
    for line in inspect.getsource(model).splitlines():
        if line.startswith("    #: ") or (comment and line.startswith("    #:")):
            comment.append(line.strip().removeprefix("#:").strip())
        elif field := re.match(r"    (\w+): ", line):
            found[field[1]] = " ".join(comment).replace("|", "\\|")
            comment = []
    return found


def attention_table() -> str:
    """The table of attention reasons in Markdown."""
    lines = ["| reason | do | meaning | cure | holds |", "|---|---|---|---|---|"]
    lines += [
        f"| `{name}` | {_urgency(row)} | {row.meaning}{_detail(row)} | {_cures(row)} | "
        f"{', '.join(kind for kind in CommandKind if kind in row.holds)} |"
        for name, row in REASONS.items()
    ]
    return "\n".join(lines)


def _detail(row: About) -> str:
    return f"; the detail: {row.detail}" if row.detail else ""


def _urgency(row: About) -> str:
    in_oms = f"; `{row.urgency_in_oms}` if {row.urgent_if}" if row.urgency_in_oms else ""
    stopped = f"; `{row.urgency_when_stopped}` if the OMS canceled it too, and nothing of it left"
    return row.urgency + in_oms + (stopped if row.urgency_when_stopped else "")


def _cures(row: About) -> str:
    return row.cure + (f" **If the goods have left:** {row.cure_when_sent}" if row.cure_when_sent else "")


#: The boxes of the picture of imports, from the top down: a name, and the modules in it. The first that fits counts.
BOXES = (
    ("cli", ("consumer.cli",)),
    ("demo", ("consumer.demo",)),
    ("bootstrap, service", ("consumer.bootstrap", "consumer.service")),
    ("operations", ("consumer.operations",)),
    ("metrics", ("consumer.metrics",)),
    ("web", ("consumer.web",)),
    ("loops", ("consumer",)),
    ("simulators", ("adapters.simulators",)),
    ("engines", ("adapters.engines",)),
    ("remotes", ("adapters.remotes",)),
    ("log", ("adapters.log",)),
    ("store", ("adapters.store",)),
    ("messages", ("adapters.messages",)),
    ("ports", ("adapters",)),
    ("statemachine", ("statemachine",)),
)


def _box(module: str) -> str:
    return next(name for name, parts in BOXES if any(f"{module}.".startswith(f"{part}.") for part in parts))


def imports() -> str:
    """A Mermaid picture of what imports what. An arrow that a longer way implies is left out."""
    graph = grimp.build_graph("statemachine", "adapters", "consumer", cache_dir=None)
    direct = {
        (_box(module), _box(imported))
        for module in graph.modules
        for imported in graph.find_modules_directly_imported_by(module)
    }
    below: dict[str, set[str]] = {}
    for name, _ in reversed(BOXES):
        mine = {other for one, other in direct if one == name} - {name}
        below[name] = mine.union(*(below.get(other, set()) for other in mine))
    arrows = [
        (name, other)
        for name, _ in BOXES
        for other, _ in BOXES
        if (name, other) in direct
        and name != other
        and not any(other in below[between] for one, between in direct if one == name and between not in (name, other))
    ]
    ids = {name: re.sub("[^a-z]", "", name) for name, _ in BOXES}
    lines = ["flowchart TD", *(f'    {ids[name]}["{name}"]' for name, _ in BOXES)]
    return "\n".join([*lines, *(f"    {ids[one]} --> {ids[other]}" for one, other in arrows)])


def tree() -> str:
    """Every file of the product, each with the first sentence of its docstring."""
    lines = []
    for folder in ("statemachine", "adapters", "consumer"):
        for path in sorted(
            (ROOT / folder).rglob("*.py"), key=lambda path: (path.parent, path.name != "__init__.py", path.name)
        ):
            if "migrations" in path.parts:
                continue
            text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            first = re.split(r"(?<=\.)\s", " ".join(text.split("\n\n")[0].split()))[0].rstrip(":")
            name = path.relative_to(ROOT).as_posix()
            lines.append(
                f"\n**{path.parent.relative_to(ROOT)}/** {first}\n"
                if path.name == "__init__.py"
                else f"- `{name}`: {first}"
            )
    return "\n".join(lines).strip()


def _between(text: str, name: str, made: str) -> str:
    """`text` with what stands between the markers of `name` made new."""
    begin, end = f"<!-- made: {name} -->", "<!-- end -->"
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n{made}\n{end}{rest.partition(end)[2]}"


def _architecture() -> str:
    text = (ROOT / "docs/architecture.md").read_text()
    text = _between(text, "imports", f"```mermaid\n{imports()}\n```")
    return _between(text, "tree", tree())


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _examples() -> dict[str, list[dict[str, Any]]]:
    """The valid examples by their message. One that is an array shows an order's life, and is no message."""
    messages = {
        "oms": "OmsOrderEvent",
        "snapshot": "OrderSnapshotEvent",
        "transition": "OrderTransitionedEvent",
        "dead": "DeadLetter",
    }
    found: dict[str, list[dict[str, Any]]] = {message: [] for message in messages.values()}
    for path in sorted((EVENTS / "examples/valid").glob("*.json")):
        record = json.loads(path.read_text())
        message = messages[path.stem.partition("-")[0]]
        if message == "DeadLetter":
            found[message].append({"name": path.stem, "headers": record["headers"], "payload": record["value"]})
        elif isinstance(record, dict):
            found[message].append({"name": path.stem, "payload": record})
    return found


if __name__ == "__main__":
    for path, text in documents().items():
        path.write_text(text)

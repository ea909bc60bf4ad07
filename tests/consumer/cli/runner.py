"""Runs commands of the command line in this process, and has helpers for the tests of several groups."""

import json
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from typer.testing import CliRunner, Result

from adapters.log.embedded import EmbeddedLog
from adapters.messages.oms_events import decode_oms
from adapters.store import dead_letters as dead_letter_rows
from adapters.store import schema
from adapters.store.dead_letters import DeadLetter
from consumer import config
from consumer.applying.loop import Consumer
from consumer.cli.app import app
from consumer.cli.opening import Environment
from consumer.cli.output import BAD_USE
from tests.consumer.operations.desk import Desk
from tests.support import StillClock

#: A configuration with two shops: alpha leaves acceptance to a person, beta has its effects off.
FILE = """\
[store]
url = "sqlite:///orderflow.db"
[shops.alpha]
hostname = "alpha.mirakl.net"
shop_id = 2104
api_key_file = "alpha.key"
acceptance = "hold"
[shops.alpha.oms]
company_ref_id = 1
api_key_file = "oms.key"
[shops.beta]
hostname = "beta.mirakl.net"
shop_id = 7
api_key_file = "beta.key"
effects = "off"
[shops.beta.oms]
company_ref_id = 2
api_key_file = "oms.key"
"""

EXAMPLES = Path(__file__).resolve().parents[3] / "docs/events/examples"
GOOD = EXAMPLES / "valid/oms-dispatched.json"
WARNED = EXAMPLES / "invalid/oms--warning--partitionkey.json"
WRONG = EXAMPLES / "invalid/oms--missing_field--data.status.json"


def run(*arguments: str, answers: str | None = None) -> Result:
    """Run a command as the user ops, with `answers` as its standard input."""
    environment = Environment(StillClock(), "ops")
    return CliRunner().invoke(app, arguments, input=answers, catch_exceptions=False, obj=environment)


def output_of(*arguments: str, answers: str | None = None) -> str:
    """What a command that succeeds prints."""
    result = run(*arguments, answers=answers)
    assert result.exit_code == 0, result.output
    return result.stdout


def json_of(*arguments: str) -> Any:
    """What a command that succeeds prints with --json."""
    return json.loads(output_of(*arguments, "--json"))


def error_of(*arguments: str, code: int = BAD_USE, answers: str | None = None) -> str:
    """What a command writes to standard error when it ends with this exit code, and prints nothing."""
    result = run(*arguments, answers=answers)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    return result.stderr


def published(desk: Desk, topic: str = "oms.order-events") -> list[Any]:
    """The records of a topic, in the order of publication."""
    c = schema.log_records.c
    with desk.store.reading() as connection:
        return list(connection.execute(sa.select(schema.log_records).where(c.topic == topic).order_by(c.offset)))


def consume(desk: Desk) -> None:
    """Apply every record of the OMS's topic, as the service would."""
    settings = config.load(Path("orderflow.toml"))
    ids = config.shop_ids(settings)
    log = EmbeddedLog(desk.store, desk.clock)
    consumer = Consumer(
        log.reader("orderflow", ["oms.order-events"]),
        desk.store,
        desk.orders,
        {"oms.order-events": lambda value, headers: decode_oms(value, headers, ids)},
        desk.clock,
    )
    while consumer.turn(0):
        pass


def add_dead_letter(
    desk: Desk, value: bytes, *, reason: str = "bad_json", key: bytes = b"alpha:O-1", digest: str = "digest"
) -> None:
    """Add a dead letter. The first has the id 1. A second one with the same digest counts as the first."""
    dead_letter = DeadLetter("oms.order-events", "oms.order-events/0/3", reason, "", digest, key, value)
    with desk.store.transaction() as tx:
        dead_letter_rows.add(tx, [dead_letter], desk.clock.now())

"""The tables and their constraints. Alembic's revisions in migrations/ create them; a test compares both.

Each rule that must always hold is a constraint here, or an index (indexes.py), so that no code can break it. A
command's `state`:

    open --claim--> leased --result--> done | rejected | gave_up
     |  ^             |
     |  +--- retry ---+        an expired lease is claimable by the ordinary claim
     +--> obsolete             no longer due (a leased one: at its retry); opens again in the same row if due
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from statemachine.commands import CommandKind, CommandState
from statemachine.deadlines import DeadlineKind
from statemachine.events import Trigger
from statemachine.machine import EventResult
from statemachine.objectives import Kept, Objective
from statemachine.states import State


class Instant(TypeDecorator[datetime]):
    """An instant in UTC. SQLite stores no time zone, so the zone is removed before a write and added after a read."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return value
        if value.tzinfo is None:
            raise ValueError("an instant without a zone")  # in local time it would be wrong by hours
        return value if dialect.name != "sqlite" else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


Word = TypeVar("Word", bound=StrEnum)


def member(words: type[Word], text: str) -> Word:
    """Return the member of an enum that is stored as `text`. A text of a newer version is returned as it is."""
    return cast(Word, words._value2member_map_.get(text, text))


class OneOf(TypeDecorator[Word]):
    """A text that is a member of one of our enums."""

    impl = sa.Text
    cache_ok = True

    def __init__(self, words: type[Word]) -> None:
        super().__init__()
        self.words = words

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> str | None:
        return value if value is None else str(value)  # a plain text, so that every value of an array has one type

    def process_result_value(self, value: str | None, _dialect: Dialect) -> Word | None:
        return None if value is None else member(self.words, value)


metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def is_live(c: sa.ColumnCollection[str, sa.Column[Any]]) -> sa.ColumnElement[bool]:
    """The condition that a command is open or leased.

    The values are literals of the SQL and not parameters. A database uses a partial index only if a statement has
    the condition of the index, which it cannot see in a parameter.
    """
    return c["state"].in_([sa.literal_column("'open'"), sa.literal_column("'leased'")])


def has_not_ended(c: sa.ColumnCollection[str, sa.Column[Any]]) -> sa.ColumnElement[bool]:
    """The condition of `is_live` in other words, for commands of given orders.

    No partial index has these words, so the database finds the rows by their order. With old statistics PostgreSQL
    would rather read an index of all live commands. The values are literals because SQLAlchemy writes a list of
    parameters into the text of the statement at each execution, which takes as long as all else that it does.
    """
    return c["state"].not_in([sa.literal_column(f"'{state}'") for state in CommandState if not state.is_live])


def needs_attention(c: sa.ColumnCollection[str, sa.Column[Any]]) -> sa.ColumnElement[bool]:
    """The condition that an order needs a person. `'[]'` is a literal for the reason that `is_live` gives."""
    return c["attention"] != sa.literal_column("'[]'")


def is_open(c: sa.ColumnCollection[str, sa.Column[Any]]) -> sa.ColumnElement[bool]:
    """The condition that an order is not at its end. Literals, as `is_live` says why."""
    return c["state"].not_in([sa.literal_column(f"'{state}'") for state in State if state.is_at_its_end])


def reasons_now(c: sa.ColumnCollection[str, sa.Column[Any]]) -> sa.ColumnElement[str]:
    """What `urgency_of` is if the urgency of the present reasons is stored (attention_json.reasons_at)."""
    return sa.cast(c["version"], sa.Text) + c["attention"]


def has_urgency(c: sa.ColumnCollection[str, sa.Column[Any]]) -> sa.ColumnElement[bool]:
    """The condition that an order needs a person, and that `urgency` and `needs_since` are of its present reasons."""
    return sa.and_(needs_attention(c), c["urgency_of"] == reasons_now(c))


def lacks_urgency(c: sa.ColumnCollection[str, sa.Column[Any]]) -> sa.ColumnElement[bool]:
    """The condition that an order needs a person, and that it is not stored how urgently (urgencies.py)."""
    return sa.and_(needs_attention(c), c["urgency_of"] != reasons_now(c))


def by_urgency(c: sa.ColumnCollection[str, sa.Column[Any]]) -> tuple[sa.ColumnElement[Any], ...]:
    """The order of the list of those that need a person. SQLite puts a missing deadline first, PostgreSQL last."""
    return (c["urgency"], c["deadline"].is_(None), c["deadline"], c["needs_since"], c["id"])


def _order_key() -> sa.Column[int]:
    return sa.Column("order_key", _ID, sa.ForeignKey("orders.id"), nullable=False)


#: One row for each order of a shop: its joined facts, and the state and attention that follow from them.
#: Only consumer/applying/apply.py writes it.
orders = sa.Table(
    "orders",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("shop", sa.Text, nullable=False),
    sa.Column("order_id", sa.Text, nullable=False),
    sa.Column("state", OneOf(State), nullable=False),
    sa.Column("facts", sa.Text, nullable=False),  # JSON of Facts, see facts_json.py
    sa.Column("version", sa.Integer, nullable=False),  # the number of journal rows of the order
    sa.Column("attention", sa.Text, nullable=False),  # JSON [[reason, detail, since]]
    sa.Column("content", sa.Text, nullable=False),  # digest of the newest snapshot; "" before the first
    sa.Column("read_after", Instant),  # a read that began later is published even if nothing changed
    # Plan.wakes_at: the instant at which an event of the clock is due. Null if time alone changes nothing, or if an
    # older version wrote the row. Housekeeping fills it when it plans every open order again.
    sa.Column("wake_at", Instant),
    # The kind of the error with which this order could not be read or planned. Null: it can. While it is set, nothing
    # of the order is applied or called.
    sa.Column("quarantine", sa.Text),
    # The version of the shop's policy by which the order was planned last (`policies`). 0: by none, or by older code.
    sa.Column("planned_by", sa.Integer, nullable=False, server_default="0"),
    # What Mirakl waits for, and until when (deadlines.mirakl_deadline). Null: for nothing, or planned by older code.
    sa.Column("deadline_kind", OneOf(DeadlineKind)),
    sa.Column("deadline", Instant),
    # The objectives whose result was counted, as "accept ship_confirm": each counts once for an order (objectives.py).
    sa.Column("counted", sa.Text, nullable=False, server_default=""),
    # The version whose names are in `names`. A lower one than `version`: older code wrote the row, and housekeeping
    # stores its names (names.py).
    sa.Column("named", sa.Integer, nullable=False, server_default="0"),
    # How urgently a person has to act (Urgency.rank), and since when the order has had the oldest of its reasons. Null:
    # it has none. They count if `urgency_of` is the version and the reasons of the row: older code writes only these.
    sa.Column("urgency", sa.SmallInteger),
    sa.Column("needs_since", Instant),
    sa.Column("urgency_of", sa.Text, nullable=False, server_default=""),
    sa.Column("first_seen_at", Instant, nullable=False),
    sa.Column("entered_at", Instant, nullable=False),  # into the present state
    sa.Column("updated_at", Instant, nullable=False),
    sa.UniqueConstraint("order_id", "shop"),  # order_id first: the index also serves a search by the id alone
)

#: What people call an order: one row for each order, for `orders list --text` (names.py). The references of a customer
#: may be personal data. The row of a deleted order goes with it, also if older code deletes the order.
names = sa.Table(
    "names",
    metadata,
    sa.Column("order_key", _ID, sa.ForeignKey("orders.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    sa.Column("names", sa.Text, nullable=False),  # one a line, in lower case, and each again from each later word on
)

#: Each version of an order that Mirakl showed, byte for byte, compressed. Of orders that ended a while ago, those on
#: which nothing rests are removed (retention.py). No statement reads inside the bytes. Personal data.
snapshots = sa.Table(
    "snapshots",
    metadata,
    _order_key(),
    sa.Column("content", sa.Text, nullable=False),  # the digest of the order's canonical JSON
    sa.Column("body", sa.LargeBinary, nullable=False),  # zlib
    sa.Column("received_at", Instant, nullable=False),
    sa.PrimaryKeyConstraint("order_key", "content"),
)

#: One row for each applied event of an order, numbered by the order's version. Joining `says` of all rows of an order
#: gives orders.facts.
journal = sa.Table(
    "journal",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    _order_key(),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("event_id", sa.Text, nullable=False),
    sa.Column("trigger", OneOf(Trigger), nullable=False),
    sa.Column("at", Instant, nullable=False),  # when it happened, by the sender's clock
    sa.Column("recorded_at", Instant, nullable=False),
    sa.Column("says", sa.Text, nullable=False),  # JSON of Facts: what this event adds
    sa.Column("note", sa.Text, nullable=False),  # JSON, for the timeline of `orders show`
    sa.Column("result", OneOf(EventResult), nullable=False),
    sa.Column("before", OneOf(State), nullable=False),
    sa.Column("after", OneOf(State), nullable=False),
    sa.Column("machine_version", sa.Integer, nullable=False),
    sa.Column("repeats", sa.Integer, nullable=False, server_default="0"),
    sa.UniqueConstraint("event_id", "source"),  # event_id first: it differs in nearly every row, source does not
    sa.UniqueConstraint("order_key", "version"),
)

#: Calls to make. The columns of the unique constraint say what a call is for, so one round never has two commands.
commands = sa.Table(
    "commands",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    _order_key(),
    # The shop of the order. "": older code opened the command, and a worker adopts it (lanes.py).
    sa.Column("shop", sa.Text, nullable=False, server_default=""),
    sa.Column("kind", OneOf(CommandKind), nullable=False),
    sa.Column("carries", sa.Text, nullable=False),
    sa.Column("round", sa.Integer, nullable=False),
    sa.Column("state", OneOf(CommandState), nullable=False),
    sa.Column("unwanted", sa.Boolean, nullable=False, server_default=sa.false()),  # became obsolete while leased
    sa.Column("basis", sa.Text, nullable=False),
    sa.Column("opened_at", Instant, nullable=False),
    sa.Column("next_at", Instant, nullable=False),
    sa.Column("give_up_at", Instant, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("lease_token", sa.Text),
    sa.Column("lease_until", Instant),
    sa.Column("payload", sa.LargeBinary),  # of an import, stored before its first try. Personal data
    sa.Column("maybe_sent", sa.Boolean, nullable=False, server_default=sa.false()),  # if so, the payload is frozen
    sa.Column("last_outcome", sa.Text, nullable=False, server_default=""),
    sa.UniqueConstraint("order_key", "kind", "carries", "round"),
    sa.CheckConstraint("state IN ('open', 'leased', 'done', 'rejected', 'gave_up', 'obsolete')", name="state_is_known"),
    sa.CheckConstraint("(state = 'leased') = (lease_token IS NOT NULL)", name="leased_has_token"),
)

#: Results of objectives that are not in `objective_totals` yet. Housekeeping moves them there. So no transaction of
#: apply waits for another one at a row of totals.
objective_results = sa.Table(
    "objective_results",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("shop", sa.Text, nullable=False),
    sa.Column("objective", OneOf(Objective), nullable=False),
    sa.Column("result", OneOf(Kept), nullable=False),
)

#: How many orders of a shop kept each objective or missed it, since the beginning: orderflow_slo_total.
objective_totals = sa.Table(
    "objective_totals",
    metadata,
    sa.Column("shop", sa.Text, nullable=False),
    sa.Column("objective", OneOf(Objective), nullable=False),
    sa.Column("result", OneOf(Kept), nullable=False),
    sa.Column("total", sa.BigInteger, nullable=False),
    sa.PrimaryKeyConstraint("shop", "objective", "result"),
)

#: Shops by name, each bound to one account at Mirakl, and the switches that turn their calls (effects) on or off.
shops = sa.Table(
    "shops",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("endpoint", sa.Text, nullable=False),
    sa.Column("shop_id", sa.BigInteger, nullable=False),
    sa.Column("effects", sa.Boolean, nullable=False),
    sa.Column("paused", sa.Text, nullable=False, server_default=""),  # the paused groups of effects, as "accept ship"
    sa.Column("first_seen_at", Instant, nullable=False),
    sa.Column("poll_began_at", Instant),  # the last poll, also one that failed or was killed
    # From `offsets reset` after a backup was restored: an order that was created before this instant, and that the
    # store does not know, may have been imported since the backup.
    sa.Column("attempted_before", Instant),
    sa.Column("account", sa.Text),  # JSON of the account at Mirakl as last read, without personal data
    sa.Column("account_read_at", Instant),
    sa.UniqueConstraint("endpoint", "shop_id"),
)

#: The policy of each shop: the newest version counts. No row is ever changed.
policies = sa.Table(
    "policies",
    metadata,
    sa.Column("shop", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("code", sa.Text, nullable=False),  # the number of the code that stored the version (migrating.NEEDED)
    sa.Column("content", sa.Text, nullable=False),  # JSON of Policy
    sa.Column("stored_at", Instant, nullable=False),
    sa.PrimaryKeyConstraint("shop", "version"),
)

#: What a person, or the check of the account, changed, when and why. No row is ever deleted.
audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("at", Instant, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("act", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
)

#: How far the poll of each shop has come.
cursors = sa.Table(
    "cursors",
    metadata,
    sa.Column("shop", sa.Text, primary_key=True),
    sa.Column("watermark", Instant, nullable=False),
    sa.Column("wide_at", Instant, nullable=False),  # the last wide window
    sa.Column("succeeded_at", Instant, nullable=False),
)

#: The next offset to apply of each partition. A consumer starts here, and not at its commit in Kafka.
progress = sa.Table(
    "progress",
    metadata,
    sa.Column("cluster", sa.Text, nullable=False),
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("partition", sa.Integer, nullable=False),
    sa.Column("group_name", sa.Text, nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("log_id", sa.Text, nullable=False, server_default=""),  # the topic's id; a recreated topic has another
    # From `offsets reset`: a commit in Kafka up to this offset is no sign that an older store was restored.
    sa.Column("excused_commit", sa.BigInteger, nullable=False, server_default="0"),
    # The log was once seen to end before `position`.
    sa.Column("was_shorter", sa.Boolean, nullable=False, server_default=sa.false()),
    # The client cannot read the records from the first of these offsets to the second. Both count only while `position`
    # is in between.
    sa.Column("unreadable_from", sa.BigInteger),
    sa.Column("unreadable_until", sa.BigInteger),
    sa.PrimaryKeyConstraint("cluster", "topic", "partition", "group_name"),
)


class DeadLetterState(StrEnum):
    """What became of a dead letter."""

    OPEN = "open"  # a person has to look
    REPLAYED = "replayed"  # published once more
    DISCARDED = "discarded"  # a person decided that it is not needed


#: Records, orders and callbacks that cannot be used, as received. The same content for the same reason is one row, and
#: so are two reads of one order (dead_letters.identity). They may hold personal data.
dead_letters = sa.Table(
    "dead_letters",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("source", sa.Text, nullable=False),  # the topic, or "poll:SHOP", or "callback:SHOP"
    sa.Column("place", sa.Text, nullable=False),  # "topic/partition/offset", or the read
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("record_key", sa.LargeBinary),
    sa.Column("value", sa.LargeBinary),
    sa.Column("headers", sa.Text, nullable=False),
    sa.Column("first_at", Instant, nullable=False),
    sa.Column("last_at", Instant, nullable=False),
    sa.Column("times", sa.Integer, nullable=False),
    sa.Column("state", OneOf(DeadLetterState), nullable=False),
    sa.UniqueConstraint("source", "reason", "digest"),
    sa.CheckConstraint("state IN ('open', 'replayed', 'discarded')", name="state_is_known"),
)

#: At most one process at a time polls a shop, or relays the outbox. Each new holder has a higher token.
leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("until", Instant, nullable=False),
    # Refuses the names of versions before 0.1.0, so that a poller of such a version cannot poll a shop at the same time
    # as a poller of this version.
    sa.CheckConstraint("substr(name, 1, 5) <> 'poll:' AND substr(name, 1, 7) <> 'poller:'", name="name_is_new"),
)

#: Calls that all workers together made to an account in each of its present windows (budgets.BudgetWindow).
budgets = sa.Table(
    "budgets",
    metadata,
    sa.Column("account", sa.Text, nullable=False),
    sa.Column("span", sa.Text, nullable=False),
    sa.Column("ends_at", Instant, nullable=False),
    sa.Column("used", sa.Integer, nullable=False),
    sa.PrimaryKeyConstraint("account", "span"),
)

#: Records to publish, written in the transaction that caused them, deleted once they are published. The names of the
#: columns are those of Debezium's outbox router, so that Debezium can replace the relay.
outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("aggregatetype", sa.Text, nullable=False),  # the topic
    sa.Column("aggregateid", sa.LargeBinary),  # the record's key
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("payload", sa.LargeBinary),
    sa.Column("headers", sa.Text, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
)

#: One row for each revision from 0008 on: the oldest code that may run on it (migrating.py).
schema_versions = sa.Table(
    "schema_versions",
    metadata,
    sa.Column("revision", sa.Text, primary_key=True),
    sa.Column("oldest", sa.Text, nullable=False),
)

#: The value of `progress.cluster` for the embedded log.
CLUSTER: Final = "embedded"
#: The embedded log. The write transaction assigns the offsets, so there are no gaps and no offset is assigned twice.
log_records = sa.Table(
    "log_records",
    metadata,
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("partition", sa.Integer, nullable=False),
    sa.Column("offset", sa.BigInteger, nullable=False),
    sa.Column("record_key", sa.LargeBinary, nullable=False),
    sa.Column("value", sa.LargeBinary, nullable=False),
    sa.Column("headers", sa.Text, nullable=False),
    sa.Column("published_at", Instant, nullable=False),
    sa.PrimaryKeyConstraint("topic", "partition", "offset"),
)

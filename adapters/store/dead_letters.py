"""Records, orders and callbacks that cannot be used, as received. They may hold personal data.

What became of one: schema.DeadLetterState."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from adapters.errors import RecordRefused, TooLarge
from adapters.messages.text import digest_of
from adapters.store import bulk
from adapters.store import schema as s
from adapters.store.headers_json import headers_from_json, headers_to_json
from adapters.store.schema import DeadLetterState
from adapters.store.transaction import Store, Transaction

#: Reasons besides those of UnreadableReason. The record can be read, but not applied; or the log does not take it.
NOT_APPLICABLE: Final = "not_applicable"
TOO_LARGE: Final = "too_large"
REFUSED: Final = "refused"
#: The reason for an unusable record of a shop that is beyond its DeadLetterLimit. The detail says why it is unusable.
SET_ASIDE: Final = "set_aside"
#: The reason for a record of an order that cannot be read or planned. The detail is the kind of the error.
QUARANTINED: Final = "quarantined"
#: The reason for a record that the log's client cannot read, and that a person passed with `offsets skip`.
RECORD_UNREADABLE: Final = "record_unreadable"


def reason_of(error: RecordRefused) -> str:
    """Return the reason of a dead letter that the log does not take as a record."""
    return TOO_LARGE if isinstance(error, TooLarge) else REFUSED


#: How a dead letter came if it did not come from a topic: as an order of a poll, or as a callback of the OMS.
POLL: Final = "poll"
CALLBACK: Final = "callback"


def source_of(came_by: str, shop: str) -> str:
    """Return the source of a dead letter that came by a poll or a callback of this shop. `split_source` reads it."""
    return f"{came_by}:{shop}"


def split_source(source: str) -> tuple[str, str]:
    """Return POLL or CALLBACK, and the shop. For a dead letter from a topic return the topic, and an empty text."""
    came_by, _, shop = source.partition(":")
    return came_by, shop


def identity(content: bytes, order: bytes | None = None) -> str:
    """Return the digest of a dead letter: of its content, or of the `order` that the content shows.

    A read shows all of an order. So a later read of the same order supersedes an earlier one that cannot be used
    either, and both are one dead letter. Of two reports on an order, neither supersedes the other.
    """
    return digest_of(b"order\0" + order if order else content)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record, an order or a callback that cannot be used, as received, and why."""

    source: str  # the topic, or as source_of makes it
    place: str  # "topic/partition/offset", or the read that showed the order
    reason: str
    detail: str
    #: Tells apart what came from one source for one reason (`identity`).
    digest: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDeadLetter(DeadLetter):
    """A dead letter, and what became of it."""

    id: int
    first_at: datetime
    last_at: datetime
    times: int  # how often it came for the same reason
    state: DeadLetterState


def add(tx: Transaction, dead_letters: Sequence[DeadLetter], now: datetime) -> None:
    """Store these. If one with the same digest came from the same source for the same reason before, its row counts one
    more, is open again, and holds what came last."""
    values = [
        dict(
            source=each.source,
            place=each.place,
            reason=each.reason,
            detail=each.detail,
            digest=each.digest,
            record_key=each.key,
            value=each.value,
            headers=headers_to_json(each.headers),
            first_at=now,
            last_at=now,
            times=1,
            state=DeadLetterState.OPEN,
        )
        for each in dead_letters
    ]
    if not values:
        return
    insert = bulk.insert(tx, s.dead_letters)
    tx.execute(
        insert.on_conflict_do_update(
            index_elements=["source", "reason", "digest"],
            set_=dict(
                times=s.dead_letters.c.times + 1,
                state=DeadLetterState.OPEN,
                last_at=insert.excluded.last_at,
                place=insert.excluded.place,
                detail=insert.excluded.detail,
                value=insert.excluded.value,
                headers=insert.excluded.headers,
            ),
        ),
        values,
    )


def close(tx: Transaction, dead_letter_id: int, times: int, state: DeadLetterState) -> bool:
    """Mark a dead letter as replayed or discarded. `times` is the count that the caller has read.

    Returns False if the dead letter was not open, or came again since it was read: a consumer can dead-letter a
    replayed record again before the replay is marked, and then the row has to stay open.
    """
    c = s.dead_letters.c
    as_read = (c.id == dead_letter_id, c.state == DeadLetterState.OPEN, c.times == times)
    return bool(tx.execute(sa.update(s.dead_letters).where(*as_read).values(state=state)).rowcount)


def find(store: Store, dead_letter_id: int) -> StoredDeadLetter | None:
    """Return a dead letter by its id. None if there is none."""
    with store.reading() as connection:
        row = connection.execute(sa.select(s.dead_letters).where(s.dead_letters.c.id == dead_letter_id)).first()
    return None if row is None else _dead_letter_of(row)


def _as_asked(reason: str | None, source: str | None) -> list[sa.ColumnElement[bool]]:
    c = s.dead_letters.c
    return [column == value for column, value in ((c.reason, reason), (c.source, source)) if value is not None]


def newest(
    store: Store, limit: int = 100, *, reason: str | None = None, source: str | None = None
) -> list[StoredDeadLetter]:
    """Return dead letters, the last received first: with this reason, from this source. None: any."""
    c = s.dead_letters.c
    asked = sa.select(s.dead_letters).where(*_as_asked(reason, source))
    statement = asked.order_by(c.last_at.desc(), c.id.desc()).limit(limit)
    with store.reading() as connection:
        return [_dead_letter_of(row) for row in connection.execute(statement)]


def open_ids(store: Store, reason: str | None, source: str | None, limit: int) -> list[int]:
    """Return the ids of at most `limit` open dead letters with this reason and from this source, the oldest first."""
    c = s.dead_letters.c
    where = (c.state == DeadLetterState.OPEN, *_as_asked(reason, source))
    with store.reading() as connection:
        return list(connection.execute(sa.select(c.id).where(*where).order_by(c.id).limit(limit)).scalars())


def of_digests(store: Store, source: str, digests: Collection[str]) -> dict[str, StoredDeadLetter]:
    """Return the dead letters of a source with these digests, open or not. For each digest: the one received last."""
    if not digests:
        return {}
    c = s.dead_letters.c
    statement = sa.select(s.dead_letters).where(c.source == source, c.digest.in_(digests)).order_by(c.last_at, c.id)
    with store.reading() as connection:
        return {row.digest: _dead_letter_of(row) for row in connection.execute(statement)}


def received_since(store: Store, since: datetime) -> list[tuple[DeadLetter, datetime]]:
    """Return the dead letters that came after this instant, without their content, and when each came last."""
    c = s.dead_letters.c
    statement = sa.select(c.source, c.place, c.reason, c.detail, c.digest, c.record_key, c.last_at)
    with store.reading() as connection:
        return [
            (DeadLetter(row.source, row.place, row.reason, row.detail, row.digest, row.record_key, None), row.last_at)
            for row in connection.execute(statement.where(c.last_at > since))
        ]


def set_aside(store: Store, owner: str) -> list[int]:
    """Return the ids of an owner's open dead letters that were set aside, the oldest first.

    `owner` is the part of the record's key before the colon: a shop's name, or its company in the OMS.
    """
    c = s.dead_letters.c
    prefix = f"{owner}:".encode()
    mine = sa.func.substr(c.record_key, 1, len(prefix)) == prefix
    where = (c.reason == SET_ASIDE, c.state == DeadLetterState.OPEN, mine)
    with store.reading() as connection:
        return list(connection.execute(sa.select(c.id).where(*where).order_by(c.id)).scalars())


def _dead_letter_of(row: sa.Row[Any]) -> StoredDeadLetter:
    return StoredDeadLetter(
        source=row.source,
        place=row.place,
        reason=row.reason,
        detail=row.detail,
        digest=row.digest,
        key=row.record_key,
        value=row.value,
        headers=headers_from_json(row.headers),
        id=row.id,
        first_at=row.first_at,
        last_at=row.last_at,
        times=row.times,
        state=row.state,
    )

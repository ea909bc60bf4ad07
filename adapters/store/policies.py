"""The policy of each shop, as versions: the newest one counts for every process, whatever its own settings say.

A process stores its settings when it starts. So after a change of the settings the process that started last decides,
and all processes plan by the same policy. An order keeps the version by which it was planned (`orders.planned_by`).
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, Protocol

import sqlalchemy as sa
from pydantic import TypeAdapter

from adapters.store import schema as s
from adapters.store import shops as shop_rows
from adapters.store.migrating import NEEDED
from adapters.store.transaction import Transaction
from statemachine.commands import Policy

_POLICY: Final = TypeAdapter(Policy)


class Statements(Protocol):
    """A connection, or a transaction."""

    def execute(self, statement: Any, parameters: Any = None, /) -> sa.CursorResult[Any]: ...


def store(tx: Transaction, policies: Mapping[str, Policy], now: datetime) -> None:
    """Store the policy of each shop as a new version, if it differs from the newest one as this code reads it.

    If the newest version was stored by older code, an equal policy is stored too, so that every order is planned again
    by the rules of the newer code. The shops have to be stored already (shops.bind).
    """
    for shop, policy in sorted(policies.items()):
        shop_rows.lock_switches(tx, shop)  # so that one process at a time finds the newest version
        newest = _newest(tx, [shop]).get(shop)
        if newest is not None:
            same = _decoded(tx, shop, newest) == replace(policy, version=0)
            if same and _code(tx, shop, newest) >= NEEDED:
                continue
        content = _POLICY.dump_json(policy, exclude={"version"}).decode()
        new = dict(shop=shop, version=(newest or 0) + 1, code=NEEDED, content=content, stored_at=now)
        tx.execute(sa.insert(s.policies).values(**new))


class StoredPolicies(Mapping[str, Policy]):
    """The policy of each shop, as `read` found it last in the store. The process's own, if the store had none or the
    shop was not read yet.

    Any thread may use it.
    """

    def __init__(self, own: Mapping[str, Policy]) -> None:
        self._own = own
        self._read: dict[str, tuple[int, Policy]] = {}  # the version and the policy, by shop

    def __getitem__(self, shop: str) -> Policy:
        found = self._read.get(shop)
        return found[1] if found else self._own[shop]

    def __iter__(self) -> Iterator[str]:
        return iter({*self._own, *self._read})

    def __len__(self) -> int:
        return len({*self._own, *self._read})

    def read(self, tx: Statements, shops: Collection[str]) -> Mapping[str, Policy]:
        """Return the newest policies of these shops, as this transaction sees them."""
        found = {}
        for shop, version in _newest(tx, shops).items():
            known = self._read.get(shop)
            if known is None or known[0] != version:
                # 0 if newer code stored the policy: so newer code plans again every order that this code plans.
                by = version if _code(tx, shop, version) <= NEEDED else 0
                known = version, replace(_decoded(tx, shop, version), version=by)
                self._read = self._read | {shop: known}
            found[shop] = known[1]
        return {shop: self._own[shop] for shop in shops if shop in self._own} | found


def _newest(tx: Statements, shops: Collection[str]) -> dict[str, int]:
    return {row.shop: row.version for row in tx.execute(_NEWEST, {"shops": sorted(shops)})}


#: Built once: every batch, claim and result reads it.
_NEWEST: Final = (
    sa.select(s.policies.c.shop, sa.func.max(s.policies.c.version).label("version"))
    .where(s.policies.c.shop.in_(sa.bindparam("shops", expanding=True)))
    .group_by(s.policies.c.shop)
)


def _decoded(tx: Statements, shop: str, version: int) -> Policy:
    return _POLICY.validate_json(_value(tx, s.policies.c.content, shop, version))


def _code(tx: Statements, shop: str, version: int) -> str:
    return _value(tx, s.policies.c.code, shop, version)


def _value(tx: Statements, column: sa.Column[Any], shop: str, version: int) -> str:
    c = s.policies.c
    return str(tx.execute(sa.select(column).where(c.shop == shop, c.version == version)).scalar_one())

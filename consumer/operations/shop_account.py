"""What a person can see and change of a shop's account at Mirakl: A01 and A02 (docs/mirakl.md 5.1, 5.11).

The account also holds personal data, bank data and invoicing data. None of that is shown, and none can be changed here.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from adapters.errors import OutcomeUnknown, RemoteError
from adapters.messages.text import instant
from adapters.ports import Clock
from adapters.remotes.mirakl_account import MiraklAccount
from adapters.store import audit as audit_rows
from adapters.store import budgets as budget_rows
from adapters.store import shops as shop_rows
from adapters.store.budgets import BudgetWindow
from adapters.store.transaction import Store
from consumer.config.shops import ShopTable
from consumer.operations.errors import NotPossible, require_reason
from consumer.polling.account_check import TooSoon, mirakl_account, read_account, stop_effects, without_personal_data
from consumer.polling.account_compare import is_another_shop, of_failure

#: Mirakl allows one call of A02 a day (docs/mirakl.md 3). Calls of every process count, also those that failed.
A02_BUDGET: Final = BudgetWindow("A02", timedelta(days=1), 1)

_INSTANTS: Final = ("closed_from", "closed_to")
_NEVER_EMPTY: Final = ("shop_name",)
_ACT: Final = "account-set"  # in the audit table; the subject is the shop and the fields, separated by blanks
#: What may be changed: texts and dates that concern no person.
SETTABLE: Final = (
    *_INSTANTS,
    "description",
    "recycling_policy",
    "return_policy",
    "shipping_country",
    "shop_name",
    "web_site",
)


@dataclass(frozen=True, slots=True)
class Change:
    """A field to change, with the value that the account has now."""

    field: str
    now: str | None  # as read last; "?" if no read is stored
    then: str | None
    read_at: datetime | None = None  # the time of the last read, if Mirakl allows none now. None: read now, or "?"


@dataclass(frozen=True, slots=True)
class Changed:
    """What became of one field. `error` is Mirakl's reason if the field was not changed, else ""."""

    field: str
    value: str | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class ShopAccount:
    """The account of one configured shop, and how it is read and changed."""

    name: str  # of the shop in the configuration
    table: ShopTable
    client: MiraklAccount
    store: Store
    clock: Clock

    def show(self) -> dict[str, Any]:
        """Read the account. Raises ConfigError, and NotPossible if Mirakl does not allow the call yet or refuses it."""
        try:
            return self._read()
        except TooSoon as error:
            raise NotPossible(f"{self.name}: {error}; --stored shows the account as it was last read") from error

    def preview(self, fields: Mapping[str, str | None]) -> list[Change]:
        """Compare these fields with the account, and return those that would change.

        If Mirakl allows no read of the account now, every field is returned, with its value of the last read, or "?" if
        none is stored. Raises NotPossible if the read is refused, or if the key belongs to another shop.
        """
        try:
            account = self._read()
        except TooSoon:
            return self._as_stored(fields)
        changes = [Change(field, _present(account, field), value) for field, value in fields.items()]
        return [one for one in changes if (one.now or None) != one.then]

    def _as_stored(self, fields: Mapping[str, str | None]) -> list[Change]:
        """Every field, with the value that the last read showed: the account may have another one now."""
        found = shop_rows.account(self.store, self.name)
        if found is None:
            return [Change(field, "?", value) for field, value in fields.items()]
        read_at, account = found[0], json.loads(found[1])
        return [Change(field, _present(account, field), value, read_at) for field, value in fields.items()]

    def change(self, changes: Sequence[Change], *, who: str, why: str) -> list[Changed]:
        """Change these fields at Mirakl. The audit table gets the names of the fields, before the call.

        Raises NotPossible if Mirakl does not allow the call yet, refuses it, or leaves its outcome unknown.
        """
        require_reason(why)
        now, account = self.clock.now(), mirakl_account(self.table.endpoint, self.table.shop_id)
        with self.store.transaction() as tx:
            ends_at = budget_rows.spend(tx, account, (A02_BUDGET,), now)
            if ends_at is not None:
                raise NotPossible(f"{self.name}: {TooSoon('A02', ends_at)}")
            subject = " ".join([self.name, *(one.field for one in changes)])
            audit_rows.add(tx, who=who, act=_ACT, subject=subject, why=why, at=now)
        try:
            errors = self.client.update({one.field: one.then for one in changes})
        except OutcomeUnknown as error:
            text = "A02 got no usable answer, so the fields may have changed: look at the account in Mirakl's portal"
            raise NotPossible(f"{self.name}: {text}") from error
        except RemoteError as error:
            raise NotPossible(f"{self.name}: A02 {error.outcome} {error.words}".rstrip()) from error
        refused = {one.field: f"{one.code}: {one.words}" for one in errors}
        result = [Changed(one.field, one.then, refused.pop(one.field, "")) for one in changes]
        return result + [Changed(field, None, error) for field, error in refused.items()]

    def _read(self) -> dict[str, Any]:
        """Return what is shown of the account. If it is another shop's, the effects are paused (docs/mirakl.md 2.1)."""
        shop_id = self.table.shop_id
        try:
            account = read_account(self.store, self.clock, self.table.endpoint, shop_id, self.client)
        except RemoteError as error:
            raise NotPossible(f"{self.name}: A01 {error.outcome}: {of_failure(error).cure}") from error
        if is_another_shop(account, shop_id):
            found = account["shop_id"]
            stop_effects(self.store, self.clock, self.name, found, shop_id)
            text = f"the key belongs to shop {found}, the configuration says {shop_id}; every effect is paused now"
            raise NotPossible(f"{self.name}: {text}")
        return without_personal_data(account)


def stored_account(store: Store, shop: str) -> tuple[datetime, dict[str, Any]]:
    """When the account of a shop was last read, and what it was then. Raises NotPossible if that is not stored."""
    found = shop_rows.account(store, shop)
    if found is None:
        raise NotPossible(
            f"{shop}: no account is stored; `run`, `shops check` and `shops account show` read and store it"
        )
    read_at, account = found
    return read_at, json.loads(account)


def changes_since(store: Store, shop: str, instant: datetime) -> str:
    """What persons changed of the account since this instant, oldest first: the fields, who, and when. Else "".

    Mirakl may have refused a field: only the next read shows that.
    """
    rows = [row for row in audit_rows.since(store, instant) if row.act == _ACT and row.subject.startswith(f"{shop} ")]
    changes = [f"{row.subject.partition(' ')[2]} by {row.who} at {row.at:%Y-%m-%d %H:%M:%S} UTC" for row in rows[::-1]]
    return "; ".join(changes)


def fields_of(assignments: Sequence[str]) -> dict[str, str | None]:
    """Read texts such as `closed_from=2026-12-24`. If there is no value after the =, the field is cleared.

    Raises NotPossible for a field that cannot be changed here, or a value that Mirakl would refuse.
    """
    fields: dict[str, str | None] = {}
    for assignment in assignments:
        field, equals, value = assignment.partition("=")
        if not equals:
            raise NotPossible(f"{assignment}: write it as FIELD=VALUE")
        if field not in SETTABLE:
            raise NotPossible(f"{field} cannot be changed here; possible are {', '.join(SETTABLE)}")
        if field in fields:
            raise NotPossible(f"{field} is named twice")
        fields[field] = _value(field, value.strip())
    closed_from, closed_to = fields.get("closed_from"), fields.get("closed_to")
    if closed_from and closed_to and closed_to <= closed_from:
        raise NotPossible("closed_to is not later than closed_from")
    return fields


def _present(account: Mapping[str, Any], field: str) -> str | None:
    """The value of a field as `fields_of` would write it."""
    found = account.get(field)
    if field in _INSTANTS and (at := instant(found)):
        return f"{at:%Y-%m-%dT%H:%M:%SZ}"
    return None if found is None else str(found)


def _value(field: str, text: str) -> str | None:
    if not text:
        if field in _NEVER_EMPTY:
            raise NotPossible(f"{field} cannot be empty")
        return None
    if field in _INSTANTS:
        at = instant(text)
        if at is None:
            raise NotPossible(f"{field}: {text} is no date, such as 2026-12-24 or 2026-12-24T18:00:00+01:00")
        return f"{at:%Y-%m-%dT%H:%M:%SZ}"
    if field == "shipping_country" and not (len(text) == 3 and text.isalpha() and text.isupper()):
        raise NotPossible(f"{field}: {text} is no country code of three letters, such as GBR")
    return text

"""What changed of an order in the OMS: each value that the OMS has beside the one that Mirakl shows now.

The values are personal data. They come from the versions of the order that the store has, for a person who asks for
this order. No log and no sentence of `explain` holds them.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from adapters.errors import Unreadable
from adapters.messages.contents import contents_of, shown_contents
from adapters.messages.json_slices import load_object
from adapters.store import snapshots as snapshot_rows
from adapters.store.orders import OrderRow
from adapters.store.transaction import Store
from statemachine.attention.changed_contents import changed_contents
from statemachine.facts import Facts
from statemachine.questions.by_field import code_digest, fields_in, left_out_of, shows_change
from statemachine.questions.compared import compared
from statemachine.questions.formulas import formula_of
from statemachine.questions.payloads import what_oms_got
from statemachine.reasons import Reason


@dataclass(frozen=True, slots=True)
class ChangedValue:
    """One value of the order that differs. None: the store does not have the version of the order that shows it."""

    changed: str  # as `changed_after_import` names it, such as "shipping address"
    line: str  # empty: the value belongs to the whole order
    sku: str
    field: str  # empty: `changed` says all
    oms: str | None  # what the import sent, or what a person who settled an earlier change says that the OMS has
    mirakl: str | None  # what Mirakl shows now; of a shipped order: by the read that is compared (compared.py)


def changed_values(store: Store, row: OrderRow, left_out: Collection[str] = ()) -> list[ChangedValue]:
    """Every value for which the order has the reason `changed_after_import`.

    `left_out`: codes of custom fields that an import of this shop leaves out now. They count if it is not known what
    the import of the order left out.
    """
    names = changed_names(row)
    if not names:
        return []
    all_left_out = [left_out_of(got, left_out) for got in what_oms_got(row.facts)]
    without = frozenset.intersection(*all_left_out) if all_left_out else frozenset[str]()
    has = {name: one.has for name, one in changed_contents(row.facts, left_out).items()}
    in_oms = _shown_with(store, row, has, names, without)
    shown = compared(row.facts)
    digest = shown.digest if shown else row.digest
    now = shown_contents(_read(snapshot_rows.find(store, row.key, digest)))
    skus = _skus(row.facts)
    return [
        ChangedValue(name, line, skus.get(line, ""), field, oms, mirakl)
        for name in names
        for (line, field), oms, mirakl in _pairs(in_oms.get(name), now.get(name))
        if (oms is None or oms != mirakl) and not (fields_in(has.get(name, "")) and code_digest(field) in without)
    ]


def changed_names(row: OrderRow) -> list[str]:
    """The names of the contents that changed since the import. In the detail of the reason a digest follows each."""
    details = (one.detail for one in row.attention if one.reason is Reason.CHANGED_AFTER_IMPORT)
    return [text.rpartition(" ")[0] for detail in details for text in detail.split(", ")]


_Values = Mapping[tuple[str, str], str]


def _pairs(in_oms: _Values | None, now: _Values | None) -> Iterator[tuple[tuple[str, str], str | None, str | None]]:
    """Each value of one content, in the OMS and now. A value that only one of both has is empty in the other."""
    for key in dict.fromkeys((*(in_oms or ()), *(now or ()))):
        yield key, None if in_oms is None else in_oms.get(key, ""), None if now is None else now.get(key, "")


def _shown_with(
    store: Store, row: OrderRow, digests: Mapping[str, str], names: Collection[str], left_out: Collection[str]
) -> dict[str, _Values]:
    """The values of these contents in the newest stored version that has these digests. `left_out`: digests of codes of
    custom fields, which may differ."""
    found: dict[str, _Values] = {}
    for body in snapshot_rows.versions(store, row.key):
        order = _read(body)
        has = dict(contents_of(row.order_id, order))
        shown = shown_contents(order) if has else {}
        for name in names:
            same = name in shown and name in digests and _are_same(has[name], digests[name], left_out)
            if same and name not in found:
                found[name] = shown[name]
        if len(found) == len(names):
            break
    return found


def _are_same(one: str, other: str, left_out: Collection[str]) -> bool:
    return formula_of(one) == formula_of(other) and not shows_change(one, other, left_out)


def _read(body: bytes | None) -> dict[str, Any]:
    with suppress(Unreadable):
        return load_object(body or b"{}")
    return {}


def _skus(facts: Facts) -> dict[str, str]:
    return {line.id: line.sku for line in facts.newest.lines} if facts.newest else {}

"""OR11, the list of orders: which version of each order it shows, its filters and its pages
(docs/mirakl.md 2.2, 5.2)."""

import json
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from adapters.simulators.mirakl.model import ApiError, Json, Knobs, parse_date
from adapters.simulators.mirakl.query import Query


@dataclass(frozen=True, slots=True)
class _Version:
    """An order as OR11 shows it from `since` on. It is written as JSON at each change, and not at each read."""

    since: datetime
    created: datetime
    updated: datetime
    fields: Json  # the filters read its top level
    body: bytes


@dataclass(slots=True)
class _Listed:
    """The newest version of one order, the one before it, and, while a lag keeps older ones visible, more of them."""

    order_id: str
    versions: list[_Version]
    shown_at: datetime | None = None  # when OR11 last returned the newest version


_Filter = Callable[[_Version], bool]


class Listing:
    """All orders as OR11 shows them. The caller holds the marketplace's lock."""

    def __init__(self, knobs: Knobs, now: Callable[[], datetime]) -> None:
        self._knobs = knobs
        self._now = now
        self._listed: dict[str, _Listed] = {}
        self._by_creation: list[_Listed] = []
        self._reads = 0  # how often a shuffled order was read

    def show(self, order: Json, now: datetime, *, with_address: bool) -> None:
        """Show the order as it is now. If visibility_lag_seconds is set, OR11 shows it only after this time."""
        version = self._rendered(order, now, with_address)
        listed = self._listed.get(order["order_id"])
        if listed is None:
            listed = self._listed[order["order_id"]] = _Listed(order["order_id"], [version])
            insort(self._by_creation, listed, key=_by_creation)
            return
        # With a lag, OR11 needs all versions that are younger than the lag, and the newest one of the others.
        horizon = now - timedelta(seconds=self._knobs.visibility_lag_seconds)
        newer = [old for old in listed.versions if old.since > horizon]
        old_enough = listed.versions[: len(listed.versions) - len(newer)]
        listed.versions = [*old_enough[-1:], *newer, version]
        listed.shown_at = None

    def has_shown(self, order_id: str) -> bool:
        """Whether OR11 has returned the order since its last change."""
        return self._listed[order_id].shown_at is not None

    def body(self, order_id: str) -> bytes:
        """Return the bytes of the order's newest version."""
        return self._listed[order_id].versions[-1].body

    def set_body(self, order_id: str, body: bytes) -> None:
        """Replace the bytes of the newest version, so that tests can show an order that Mirakl would never write.

        The next change of the order adds a version without these bytes.
        """
        versions = self._listed[order_id].versions
        versions[-1] = replace(versions[-1], body=body)

    def or11(self, request: Request) -> Response:
        query = Query(dict(request.query_params.items()), request.query_params.getlist)
        size = query.number("max", 10, least=1)
        if size > 100 and self._knobs.max_over_100_is_error:
            raise ApiError(400, "max must not exceed 100", "VALIDATION_ERROR", "max")
        size, offset = min(size, 100, self._knobs.largest_page), query.number("offset", 0, least=0)
        query.choice("sort", ("dateCreated",))
        descending = query.choice("order", ("asc", "desc")) == "desc"
        tax_mode = query.choice("order_tax_mode", ("TAX_INCLUDED", "TAX_EXCLUDED"))
        matching = self._matching(query)
        if descending:
            matching.reverse()
        page = matching[offset : offset + size]
        for listed, version in page:
            if version is listed.versions[-1]:
                listed.shown_at = self._now()
        bodies = [self._written(listed.order_id, version) for listed, version in page]
        if tax_mode == "TAX_EXCLUDED":
            bodies = [json.dumps(_without_tax(json.loads(one))).encode() for one in bodies]
        content = b'{"orders":[' + b",".join(bodies) + b'],"total_count":%d}' % len(matching)
        headers = _links(request, offset, size, len(matching))
        return Response(content, media_type="application/json", headers=headers)

    def remove(self, order_id: str) -> None:
        """Stop showing the order."""
        self._by_creation.remove(self._listed.pop(order_id))

    def _written(self, order_id: str, version: _Version) -> bytes:
        """Return the order's bytes. A shuffled order has other bytes in every read, with the same content."""
        if order_id not in self._knobs.shuffled:
            return version.body
        self._reads += 1
        return json.dumps(_turned(json.loads(version.body), self._reads), indent=self._reads % 3 or None).encode()

    def _rendered(self, order: Json, now: datetime, with_address: bool) -> _Version:
        shown = {**order, **self._knobs.extra_fields}
        if not with_address:
            hidden = dict.fromkeys(("shipping_address", "billing_address", "accounting_contact", "delivery_contact"))
            shown["customer"] = {**order["customer"], **hidden}
        return _Version(
            since=now,
            created=parse_date(order["created_date"]),
            updated=parse_date(order["last_updated_date"]),
            fields=shown,
            body=json.dumps(shown, ensure_ascii=False, separators=(",", ":")).encode(),
        )

    def _matching(self, query: Query) -> list[tuple[_Listed, _Version]]:
        """Return the orders for which all filters hold, sorted by creation, then by order id."""
        filters = self._filters(query)
        ids = query.codes("order_ids")
        candidates = self._by_creation
        if ids is not None:
            candidates = sorted((self._listed[one] for one in ids if one in self._listed), key=_by_creation)
        lag_seconds = self._knobs.visibility_lag_seconds
        horizon = self._now() - timedelta(seconds=lag_seconds)
        matching = []
        for listed in candidates:
            version: _Version | None = listed.versions[-1]
            if lag_seconds:
                visible = [one for one in listed.versions if one.since <= horizon]
                version = visible[-1] if visible else None
            if version is not None and all(holds(version) for holds in filters):
                matching.append((listed, version))
        return matching

    def _filters(self, query: Query) -> list[_Filter]:
        filters: list[_Filter] = []

        def among(values: set[str] | None, read: Callable[[Json], str | None]) -> None:
            if values is not None:
                filters.append(lambda version: read(version.fields) in values)

        def within(name: str, hold: Callable[[_Version, datetime], bool]) -> None:
            moment = query.date(name)
            if moment is not None:
                filters.append(lambda version: hold(version, moment))

        among(query.codes("order_state_codes", limit=None), lambda order: order["order_state"])
        among(query.codes("payment_workflow"), lambda order: order["payment_workflow"])
        among(query.repeated("fulfillment_center_code"), lambda order: order["fulfillment"]["center"]["code"])
        for side in ("customer", "seller"):
            name = f"order_reference_for_{side}"
            among(
                query.codes(f"order_references_for_{side}"),
                lambda order, name=name: (order["references"] or {}).get(name),  # type: ignore[misc]
            )
        if query.flag("only_null_channel"):
            filters.append(lambda version: version.fields["channel"] is None)
        else:
            among(query.codes("channel_codes"), lambda order: (order["channel"] or {}).get("code"))
        lookback = timedelta(seconds=self._knobs.update_lookback_seconds)
        within("start_date", lambda version, at: version.created >= at)
        within("end_date", lambda version, at: version.created <= at)
        within("start_update_date", lambda version, at: version.updated >= at - lookback)
        within("end_update_date", lambda version, at: version.updated <= at)
        incident, debited = query.flag("has_incident"), query.flag("customer_debited")
        if incident is not None:
            filters.append(lambda version: version.fields["has_incident"] is incident)
        if debited is not None:
            filters.append(lambda version: (version.fields["customer_debited_date"] is not None) is debited)
        return filters


def _by_creation(listed: _Listed) -> tuple[datetime, str]:
    return listed.versions[-1].created, listed.order_id


def _links(request: Request, offset: int, size: int, total: int) -> dict[str, str]:
    steps = {"previous": offset - size, "next": offset + size}
    links = [
        f'<{request.url.include_query_params(max=size, offset=max(at, 0))}>; rel="{name}"'
        for name, at in steps.items()
        if (offset > 0 if name == "previous" else at < total)
    ]
    return {"Link": ", ".join(links)} if links else {}


def _turned(value: Any, by: int) -> Any:
    """Return the same JSON value, with the members of every object in another order."""
    if isinstance(value, list):
        return [_turned(one, by) for one in value]
    if not isinstance(value, dict):
        return value
    members = list(value.items())
    at = by % max(len(members), 1)
    return {name: _turned(one, by) for name, one in members[at:] + members[:at]}


def _without_tax(order: Json) -> Json:
    """Return the order in the mode TAX_EXCLUDED: the taxes of each line are taken off its amounts."""
    for line in order["order_lines"]:
        tax = sum(one["amount"] for one in line["taxes"])
        shipping_tax = sum(one["amount"] for one in line["shipping_taxes"])
        line["price"] = round(line["price"] - tax, 2)
        line["price_unit"] = line["origin_unit_price"] = round(line["price"] / line["quantity"], 2)
        line["shipping_price"] = round(line["shipping_price"] - shipping_tax, 2)
        line["total_price"] = round(line["price"] + line["shipping_price"], 2)
    for name in ("price", "shipping_price", "total_price"):
        order[name] = round(sum(line[name] for line in order["order_lines"]), 2)
    return order | {"order_tax_mode": "TAX_EXCLUDED"}

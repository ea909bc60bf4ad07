"""M10 and M11: the threads of messages about orders, and how a seller reads them (docs/mirakl.md 5.10, 2.2)."""

import base64
import binascii
import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from urllib.parse import parse_qsl, urlencode
from uuid import NAMESPACE_URL, uuid5

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from adapters.simulators.mirakl.model import ApiError, Json, Marketplace, parse_date, stamp
from adapters.simulators.mirakl.query import Query


class Threads:
    """All threads of a marketplace, with their messages. The caller holds the marketplace's lock."""

    def __init__(self, marketplace: Marketplace, now: Callable[[], datetime]) -> None:
        self._marketplace = marketplace
        self._now = now
        self._threads: dict[str, Json] = {}  # by thread id
        self._by_order: defaultdict[str, list[Json]] = defaultdict(list)

    def post(self, order: Json, body: str, sender: str, topic: str | None, attachments: Sequence[str] = ()) -> str:
        """Add a message to the order's newest thread, or to a new one if a topic is given. Returns the thread's id."""
        threads = self._of({order["order_id"]})
        thread = threads[0] if threads and topic is None else self._new(order, topic)
        self._append(order, thread, body, sender, attachments)
        return str(thread["id"])

    def m11(self, request: Request) -> Response:
        params = dict(request.query_params.items())
        if "page_token" in params:
            params = self._open_token(params["page_token"])  # every other parameter is ignored
        query = Query(params)
        size = query.number("limit", 50, least=1)
        if size > 100:
            raise ApiError(400, "must not exceed 100", name="limit")
        threads = self._matching(query, params.get("entity_type"))
        start = 0
        if "after" in params:
            start = 1 + next((i for i, one in enumerate(threads) if one["id"] == params["after"]), -1)
        page = threads[start : start + size]
        shown = [_shown(thread, bool(query.flag("with_messages"))) for thread in page]
        more = bool(page) and start + size < len(threads)
        before = threads[start - size - 1]["id"] if start > size else None
        return JSONResponse(
            {
                "data": shown,
                "next_page_token": self._token(params, page[-1]["id"]) if more else None,
                "previous_page_token": self._token(params, before) if start > 0 else None,
            }
        )

    def m10(self, request: Request) -> Response:
        thread = self._threads.get(request.path_params["thread_id"])
        if thread is None:
            raise ApiError(404, "thread not found", "NOT_FOUND", "thread_id")
        return JSONResponse(thread)

    # -- Finding threads ---------------------------------------------------------------------------------------

    def _of(self, order_ids: set[str] | None) -> list[Json]:
        """Return the threads of these orders, newest first. `order_ids` None: of all orders."""
        found = list(self._threads.values())
        if order_ids is not None:
            found = [one for order_id in order_ids for one in self._by_order.get(order_id, ())]
        return sorted(found, key=lambda thread: (thread["date_created"], thread["id"]), reverse=True)

    def _matching(self, query: Query, entity_type: str | None) -> list[Json]:
        ids = query.codes("entity_id")
        if ids is not None and entity_type is None:
            raise ApiError(400, "entity_type is required with entity_id", name="entity_type")
        threads = self._of(ids) if entity_type in (None, "MMP_ORDER") else []
        since, channels = query.date("updated_since"), query.codes("channel_codes")
        if since is not None:
            threads = [thread for thread in threads if parse_date(thread["date_updated"]) >= since]
        if channels is not None and self._marketplace.channel not in channels:
            threads = []
        return threads

    # -- Messages ----------------------------------------------------------------------------------------------

    def _people(self, order: Json) -> tuple[Json, Json]:
        """Return the two participants: the shop and the customer."""
        customer = order["customer"]
        name = f"{customer['firstname']} {customer['lastname']}"
        shop = {"display_name": "Print House", "id": str(self._marketplace.shop_id), "type": "SHOP"}
        return shop, {"display_name": name, "id": customer["customer_id"], "type": "CUSTOMER"}

    def _new(self, order: Json, topic: str | None) -> Json:
        order_id, now = order["order_id"], stamp(self._now())
        shop, customer = self._people(order)
        number = len(self._by_order[order_id])
        thread: Json = {
            "authorized_participants": [shop, customer, {"display_name": "Operator", "type": "OPERATOR"}],
            "current_participants": [shop, customer],
            "customer_organization": None,
            "date_created": now,
            "date_updated": now,
            "entities": [{"id": order_id, "label": order_id, "type": "MMP_ORDER"}],
            "id": str(uuid5(NAMESPACE_URL, f"{self._marketplace.name}/{order_id}/{number}")),
            "messages": [],
            "metadata": {"shop_reply_needed_since": None},
            "no_store_reply_needed": [],
            "topic": {"type": "FREE_TEXT", "value": topic or "About my order"},
        }
        self._threads[thread["id"]] = thread
        self._by_order[order_id].append(thread)
        return thread

    def _append(self, order: Json, thread: Json, body: str, sender: str, attachments: Sequence[str]) -> None:
        now = stamp(self._now())
        shop, customer = self._people(order)
        author: Json = {"display_name": "Operator", "type": sender}
        if sender == "CUSTOMER_USER":
            author["display_name"] = customer["display_name"]
        elif sender == "SHOP_USER":
            author |= {"display_name": "Ana", "organization_details": shop}
        message = {
            "body": body,
            "date_created": now,
            "from": author,
            "id": str(uuid5(NAMESPACE_URL, f"{thread['id']}/{len(thread['messages'])}")),
            "to": [customer if sender == "SHOP_USER" else shop],
        }
        if attachments:  # without attachments the key is missing (docs/mirakl.md 5.10)
            message["attachments"] = [
                {"id": str(uuid5(NAMESPACE_URL, f"{message['id']}/{name}")), "name": name, "size": 48211}
                for name in attachments
            ]
        thread["messages"].append(message)
        thread["date_updated"] = now
        waiting_since = thread["metadata"]["shop_reply_needed_since"]
        thread["metadata"] = {
            "last_message_date": now,
            "last_sender": {"display_name": author["display_name"], "type": sender},
            "shop_reply_needed_since": (waiting_since or now) if sender == "CUSTOMER_USER" else None,
            "total_count": len(thread["messages"]),
        }

    # -- Page tokens -------------------------------------------------------------------------------------------

    def _token(self, params: Json, after: str | None) -> str:
        """Make a page token, which clients must not read.

        It has the query and the thread after which the page begins, in base64, then a dot and a signature.
        """
        content = urlencode({**params, "after": after or ""}).encode()
        return f"{base64.urlsafe_b64encode(content).decode()}.{self._signature(content)}"

    def _open_token(self, token: str) -> Json:
        encoded, _, signature = token.partition(".")
        try:
            content = base64.urlsafe_b64decode(encoded)
        except (binascii.Error, ValueError):
            content = b""
        if not content or self._signature(content) != signature:
            raise ApiError(400, "invalid page token", name="page_token")
        return dict(parse_qsl(content.decode()))

    def _signature(self, content: bytes) -> str:
        key = self._marketplace.api_key.encode()
        return base64.urlsafe_b64encode(hashlib.sha256(key + content).digest()[:12]).decode()


def _shown(thread: Json, with_messages: bool) -> Json:
    """Return a thread as M11 shows it: with its last 100 messages, or without messages."""
    if with_messages:
        return {**thread, "messages": thread["messages"][-100:]}
    return {key: value for key, value in thread.items() if key not in ("messages", "no_store_reply_needed")}

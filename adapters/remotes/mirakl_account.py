"""Mirakl's API for the shop's account and documents: A01, A02, PC01, S30, S31, S33 (docs/mirakl.md 2, 5.1, 5.11)."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

import httpx

from adapters.errors import OutcomeUnknown, Retryable, Unreadable
from adapters.messages.json_slices import load_object
from adapters.messages.text import instant, storable
from adapters.ports import OnCall
from adapters.remotes.http import DIRECT, CallOutcome, Network, Remote, Reply, Sink, http_date
from adapters.remotes.mirakl import failure

T = TypeVar("T")

#: The largest download. The documents of a shop are scans of papers.
MAX_DOWNLOAD_BYTES: Final = 256 * 1024 * 1024
_DOWNLOAD_SECONDS: Final = 600.0
#: The payment workflows for which PC01 says whether the marketplace offers them.
_WORKFLOWS: Final = {
    "pay_on_shipment": "PAY_ON_SHIPMENT",
    "pay_on_due_date": "PAY_ON_DUE_DATE",
    "no_customer_payment_confirmation": "NO_CUSTOMER_PAYMENT_CONFIRMATION",
}


@dataclass(frozen=True, slots=True)
class Document:
    """A business document of the shop, such as a proof of identity. Its name can hold personal data."""

    id: int
    file_name: str
    type: str
    uploaded_at: datetime | None


@dataclass(frozen=True, slots=True)
class FieldError:
    """Why Mirakl did not change a field of the account: its code and its words."""

    field: str
    code: str
    words: str


@dataclass(frozen=True, slots=True)
class Platform:
    """That a Mirakl answered PC01, and knows the key. `may_read`: whether the key may read the answer.

    `tenant`: the marketplace's name at Mirakl, "" if it is not named. `without`: the payment workflows that the answer
    says no order of the marketplace has.
    """

    may_read: bool
    answered_at: datetime | None
    tenant: str = ""
    without: frozenset[str] = frozenset()


class MiraklAccount:
    """The account of one shop. Every method raises RemoteError."""

    def __init__(
        self,
        *,
        base_url: str,
        shop_id: int,
        api_key: Callable[[], str],
        on_call: OnCall,
        timeout_seconds: float = 20.0,
        transport: httpx.BaseTransport | None = None,
        network: Network = DIRECT,
    ) -> None:
        self._remote = Remote("mirakl", base_url, on_call, timeout_seconds, transport, network=network)
        self._shop = {"shop_id": str(shop_id)}
        self._api_key = api_key

    def close(self) -> None:
        self._remote.close()

    def read(self) -> dict[str, Any]:
        """A01: read the account, as JSON. It holds personal data and bank data. Mirakl allows one call a day.

        Raises Retryable if a 2xx answer is not a JSON object: then a proxy answered, and not Mirakl.
        """
        return self._ask("A01", "GET", "/api/account", _account)

    def platform(self) -> Platform:
        """PC01: read the marketplace's features, and see whether the key is known. Mirakl does not limit this call.

        Many keys may not read them (403, docs/mirakl.md 5.1); that proves that the key is known too. Raises Retryable
        if a 2xx answer is not a JSON object.
        """
        return self._ask("PC01", "GET", "/api/platform/configuration", _platform)

    def update(self, fields: Mapping[str, str | None]) -> list[FieldError]:
        """A02: set these fields of the account, and leave all others as they are. None clears a field.

        Returns what Mirakl did not change; an answer with status 200 can hold such errors. Mirakl allows one call a
        day. Raises OutcomeUnknown also if a 2xx answer is not a JSON object.
        """
        return self._remote.call(
            "A02",
            "PUT",
            "/api/account",
            _field_errors,
            authorization=self._api_key().strip(),
            params=self._shop,
            content=json.dumps(fields).encode(),
        )

    def documents(self) -> list[Document]:
        """S30: list the documents. Raises Retryable if a 2xx answer is no such list."""
        return self._ask("S30", "GET", "/api/shops/documents", _documents)

    def download(self, ids: Sequence[int], write: Callable[[bytes], object]) -> None:
        """S31: hand the documents with these ids to `write`, piece by piece: one as it is, several in a ZIP archive.

        Raises Retryable if the answer breaks off, is larger than MAX_DOWNLOAD_BYTES or is a page of a proxy. Then the
        bytes that were written must not be used.
        """
        params = {"document_ids": ",".join(str(one) for one in ids)}
        sink = Sink(write, MAX_DOWNLOAD_BYTES, _DOWNLOAD_SECONDS)
        self._ask("S31", "GET", "/api/shops/documents/download", _downloaded, params=params, sink=sink)

    def delete_document(self, document_id: int) -> None:
        """S33: delete a document."""
        self._ask("S33", "DELETE", f"/api/shops/documents/{document_id}", _deleted)

    def _ask(
        self,
        operation: str,
        method: str,
        path: str,
        read: Callable[[Reply], T],
        *,
        params: Mapping[str, str] | None = None,
        sink: Sink | None = None,
    ) -> T:
        key, all_params = self._api_key().strip(), {**(params or {}), **self._shop}
        return self._remote.call(operation, method, path, read, authorization=key, params=all_params, sink=sink)


def _account(reply: Reply) -> dict[str, Any]:
    if not 200 <= reply.status < 300:
        raise failure("A01", reply, writes=False)
    try:
        return load_object(reply.body)
    except Unreadable:
        raise Retryable("A01", CallOutcome.BODY_ERROR, status=reply.status) from None


def _platform(reply: Reply) -> Platform:
    answered_at = http_date(reply.headers.get("Date"))
    if reply.status == 403:
        return Platform(False, answered_at)
    if not 200 <= reply.status < 300:
        raise failure("PC01", reply, writes=False)
    try:
        shown = load_object(reply.body)
    except Unreadable:
        raise Retryable("PC01", CallOutcome.BODY_ERROR, status=reply.status) from None
    tenant, features = shown.get("tenant_name"), shown.get("features")
    offered = features.get("order_workflows") if isinstance(features, dict) else None
    if not isinstance(offered, dict):
        offered = {}
    without = frozenset(workflow for name, workflow in _WORKFLOWS.items() if offered.get(name) is False)
    return Platform(True, answered_at, storable(tenant, 80) if isinstance(tenant, str) else "", without)


def _field_errors(reply: Reply) -> list[FieldError]:
    if not 200 <= reply.status < 300:
        raise failure("A02", reply, writes=True)
    try:
        errors = load_object(reply.body).get("errors")
    except Unreadable:
        raise OutcomeUnknown("A02", CallOutcome.BODY_ERROR, status=reply.status) from None
    return [_field_error(one) for one in errors] if isinstance(errors, list) else []


def _field_error(error: Any) -> FieldError:
    texts = error if isinstance(error, dict) else {}
    field, code, words = (storable(str(texts.get(name) or ""), 500) for name in ("field", "code", "message"))
    return FieldError(field, code, words)


def _documents(reply: Reply) -> list[Document]:
    if not 200 <= reply.status < 300:
        raise failure("S30", reply, writes=False)
    try:
        listed = load_object(reply.body)["shop_documents"]
    except (Unreadable, KeyError):
        listed = None
    if not isinstance(listed, list):
        raise Retryable("S30", CallOutcome.BODY_ERROR, status=reply.status)
    return [*_readable(listed)]


def _readable(listed: Sequence[Any]) -> Iterator[Document]:
    """The documents that have an id. Others can be neither downloaded nor deleted."""
    for one in listed:
        number = one.get("id") if isinstance(one, dict) else None
        if isinstance(number, int) and not isinstance(number, bool):
            name, kind = (storable(str(one.get(field) or ""), 500) for field in ("file_name", "type"))
            yield Document(number, name, kind, instant(one.get("date_uploaded")))


def _downloaded(reply: Reply) -> None:
    if not 200 <= reply.status < 300:
        raise failure("S31", reply, writes=False)
    if reply.headers.get("Content-Type", "").startswith(("text/html", "application/json")):
        raise Retryable("S31", CallOutcome.BODY_ERROR, status=reply.status)


def _deleted(reply: Reply) -> None:
    if not 200 <= reply.status < 300:
        raise failure("S33", reply, writes=True)

"""Mirakl's seller API for the shop's own account: A01, A02 (docs/mirakl.md 2, 5.1, 5.11)."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from adapters.errors import OutcomeUnknown, Retryable, Unreadable
from adapters.messages.json_slices import load_object
from adapters.messages.text import storable
from adapters.ports import OnCall
from adapters.remotes.http import CallOutcome, Remote, Reply
from adapters.remotes.mirakl import failure


@dataclass(frozen=True, slots=True)
class FieldError:
    """Why Mirakl did not change a field of the account: its code and its words."""

    field: str
    code: str
    words: str


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
    ) -> None:
        self._remote = Remote("mirakl", base_url, on_call, timeout_seconds, transport)
        self._shop = {"shop_id": str(shop_id)}
        self._api_key = api_key

    def close(self) -> None:
        self._remote.close()

    def read(self) -> dict[str, Any]:
        """A01: read the account, as JSON. It holds personal data and bank data. Mirakl allows one call a day.

        Raises Retryable if a 2xx answer is not a JSON object: then a proxy answered, and not Mirakl.
        """
        return self._remote.call(
            "A01", "GET", "/api/account", _account, authorization=self._api_key().strip(), params=self._shop
        )

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


def _account(reply: Reply) -> dict[str, Any]:
    if not 200 <= reply.status < 300:
        raise failure("A01", reply, writes=False)
    try:
        return load_object(reply.body)
    except Unreadable:
        raise Retryable("A01", CallOutcome.BODY_ERROR, status=reply.status) from None


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

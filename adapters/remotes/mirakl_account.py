"""Mirakl's seller API for the shop's own account: A01 (docs/mirakl.md 2, 5.1)."""

from collections.abc import Callable
from typing import Any

import httpx

from adapters.errors import Retryable, Unreadable
from adapters.messages.json_slices import load_object
from adapters.ports import OnCall
from adapters.remotes.http import CallOutcome, Remote, Reply
from adapters.remotes.mirakl import failure


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


def _account(reply: Reply) -> dict[str, Any]:
    if not 200 <= reply.status < 300:
        raise failure("A01", reply, writes=False)
    try:
        return load_object(reply.body)
    except Unreadable:
        raise Retryable("A01", CallOutcome.BODY_ERROR, status=reply.status) from None

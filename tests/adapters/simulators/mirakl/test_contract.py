"""The simulator's answers follow Mirakl's published description, with nulls allowed and `required` ignored
(docs/mirakl.md 12)."""

import asyncio
import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from starlette.requests import Request

from adapters.simulators.books import Books
from adapters.simulators.mirakl.account import Document
from adapters.simulators.mirakl.api import mirakl_app
from adapters.simulators.mirakl.marketplace import MiraklSimulator
from adapters.simulators.orders import ALPHA, BETA, Line, build_order

DESCRIPTION = Path(__file__).resolve().parents[5] / "shared" / "mirakl" / "mmp-seller-openapi.json"
# `value` is only in sub-schemas that `type` selects, and JSON Schema does not follow this selection.
UNLISTED = {"value"}


def lenient(schema: Any) -> Any:
    """Change a schema: null is allowed everywhere, no field is required, and every field must be described."""
    if isinstance(schema, list):
        return [lenient(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    loose = {key: lenient(value) for key, value in schema.items() if key not in ("required", "discriminator")}
    if isinstance(schema.get("type"), str):
        loose["type"] = [schema["type"], "null"]
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        loose["additionalProperties"] = False
        loose["properties"] = {name: lenient(one) for name, one in schema["properties"].items()}
        loose["properties"] |= dict.fromkeys(UNLISTED - set(schema["properties"]), True)
    return loose


@cache
def components() -> Any:
    if not DESCRIPTION.exists():
        pytest.skip(f"{DESCRIPTION} is not here")
    described = json.loads(DESCRIPTION.read_text())
    return {name: lenient(schema) for name, schema in described["components"]["schemas"].items()}


def check(answer: Any, name: str) -> None:
    schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": components()}}
    errors = [f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(answer)]
    assert errors == []


def get(simulator: MiraklSimulator, path: str) -> Any:
    async def one() -> Any:
        transport = httpx.ASGITransport(app=mirakl_app(simulator))
        headers = {"Authorization": simulator.marketplace.api_key}
        async with httpx.AsyncClient(transport=transport, base_url="http://m", headers=headers) as client:
            return (await client.get(path)).json()

    return asyncio.run(one())


@pytest.fixture(params=[ALPHA, BETA], ids=["alpha", "beta"])
def simulator(request: pytest.FixtureRequest) -> MiraklSimulator:
    """A marketplace with orders in seven states, and every unusual value that `build_order` makes from `person`."""
    moment = datetime(2026, 3, 1, 9, 0, 0, 250_000, tzinfo=UTC)
    simulator = MiraklSimulator(request.param, Books(), lambda: moment)
    states = ("STAGING", "WAITING_ACCEPTANCE", "WAITING_DEBIT_PAYMENT", "SHIPPING", "SHIPPED", "CLOSED")
    for person in range(36):
        order_id = f"{person}-A"
        lines = [Line("MUG"), Line("TEE", 2, state="REFUSED" if person % 5 == 1 else None)]
        order = build_order(
            request.param,
            order_id,
            created=moment,
            lines=lines,
            state=states[person % len(states)],
            person=person,
            tracking="T1" if person % 2 else None,
        )
        simulator.add_order(order)
        simulator.post_message(order_id, "Hello, Canary")
        simulator.post_message(order_id, "Yes", "SHOP_USER")
    simulator.cancel_line("3-A", "3-A-1")
    simulator.cancel("1-A")
    simulator.account.documents.append(Document(2002, "legal.jpeg", "LEGAL_DOC", b"x", moment))
    return simulator


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/api/account", "A01_Response_200"),
        ("/api/shops/documents", "S30_Response_200"),
        ("/api/platform/configuration", "PC01_Response_200"),
        ("/api/shipping/carriers", "SH21_Response_200"),
        ("/api/shipping/types", "SH12_Response_200"),
        ("/api/orders?max=100", "OR11_Response_200"),
        ("/api/orders?max=100&order_tax_mode=TAX_EXCLUDED", "OR11_Response_200"),
        ("/api/inbox/threads?with_messages=true", "M11_Response_200"),
        ("/api/inbox/threads", "M11_Response_200"),
    ],
)
def test_answers_fit_the_published_schema(simulator: MiraklSimulator, path: str, name: str) -> None:
    check(get(simulator, path), name)


def test_a_changed_account_fits_the_published_schema(simulator: MiraklSimulator) -> None:
    body = b'{"email": "new@seller.example", "shop_name": null, "shop_id": 3}'
    answer = json.loads(bytes(simulator.account.a02(Request({"type": "http"}), body).body))
    assert [one["field"] for one in answer["errors"]] == ["shop_name", "shop_id"]
    check(answer, "A02_Response_200")


def test_a_thread_fits_the_published_schema(simulator: MiraklSimulator) -> None:
    (thread, *_) = get(simulator, "/api/inbox/threads")["data"]
    check(get(simulator, f"/api/inbox/threads/{thread['id']}"), "M10_Response_200")


def test_every_described_field_of_an_order_is_there(simulator: MiraklSimulator) -> None:
    """So tests of adapters meet each field, null or not. Fields of features that are off may be missing."""
    order = get(simulator, "/api/orders")["orders"][0]
    for described, shown in (
        (components()["OR11_Response_200_Orders"], order),
        (components()["OR11_Response_200_Orders_Customer"], order["customer"]),
    ):
        assert set(described["properties"]) - UNLISTED - set(shown) == set()


def test_the_check_itself_finds_a_wrong_type_and_an_undescribed_field() -> None:
    for wrong in ({"total_count": "2"}, {"orders": [{"order_idd": "1"}]}):
        with pytest.raises(AssertionError):
            check(wrong, "OR11_Response_200")

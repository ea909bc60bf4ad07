"""`POST /order`: authentication, limits, checks, error bodies, faults (docs/kornitx.md 2, 3, 6, 7)."""

import base64
import binascii
import hmac
import json
from collections import deque
from datetime import datetime, timedelta
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapters.simulators.faults import respond, take_fault
from adapters.simulators.oms.model import NO_DATE, Json, OmsCompany, OmsError
from adapters.simulators.oms.oms import OmsSimulator

_REQUIRED = (
    "external_ref",
    "sale_datetime",
    "customer_name",
    "shipping_address_1",
    "shipping_address_4",
    "shipping_postcode",
    "shipping_country_code",
)
_REQUIRED_OF_ITEM = ("external_ref", "sku", "description", "quantity", "type")


def oms_app(simulator: OmsSimulator) -> Starlette:
    """Make the API of this OMS. Its limits count only the requests to this app."""
    return Starlette(routes=[Route("/order", _Api(simulator).post_order, methods=["POST"])])


class _Api:
    def __init__(self, simulator: OmsSimulator) -> None:
        self._simulator = simulator
        self._arrivals: dict[int, deque[datetime]] = {}  # of requests, by company

    async def post_order(self, request: Request) -> Response:
        simulator = self._simulator
        body = await request.body()
        with simulator.lock:
            simulator.requests["order"] += 1
            fault = take_fault(simulator.knobs.faults, "order", _external_ref(body))

        def handle() -> Response:
            with simulator.lock:
                try:
                    return JSONResponse(self._import(request, body), simulator.knobs.success_status)
                except OmsError as error:
                    envelope = {"error": {"message": error.message, "code": error.code}}
                    return JSONResponse(envelope, error.status)

        return await respond(request, fault, handle)

    def _import(self, request: Request, body: bytes) -> list[Json]:
        company = self._authenticate(request.headers.get("authorization", ""))
        self._limit(company)
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise OmsError(0, "Content-Type must be application/json")
        return self._simulator.import_order(company, self._checked(company, body), body)

    def _authenticate(self, header: str) -> OmsCompany:
        """Check `Basic COMPANYREFID:APIKEY`, plain or in base64, because clients send both (docs/kornitx.md 2.1)."""
        scheme, _, credentials = header.partition(" ")
        if ":" not in credentials:
            try:
                credentials = base64.b64decode(credentials, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                credentials = ""
        number, _, key = credentials.partition(":")
        company = self._simulator.companies.get(int(number)) if number.isdecimal() else None
        if scheme != "Basic" or company is None or not hmac.compare_digest(key, company.api_key):
            raise OmsError(50000, "Either your RefID or your API key are incorrect")
        return company

    def _limit(self, company: OmsCompany) -> None:
        """Refuse a company that is above a limit, with 400 and not with 429 (docs/kornitx.md 2.2)."""
        knobs, now = self._simulator.knobs, self._simulator.now()
        arrivals = self._arrivals.setdefault(company.company_ref_id, deque())
        while arrivals and now - arrivals[0] >= timedelta(days=1):
            arrivals.popleft()
        last_hour = sum(now - at < timedelta(hours=1) for at in arrivals) if knobs.requests_per_hour else 0
        for limit, used in ((knobs.requests_per_hour, last_hour), (knobs.requests_per_day, len(arrivals))):
            if limit is not None and used >= limit:
                raise OmsError(knobs.rate_limit_code, "Rate limit exceeded")
        if knobs.requests_per_hour or knobs.requests_per_day:
            arrivals.append(now)

    def _checked(self, company: OmsCompany, body: bytes) -> Json:
        try:
            fields = json.loads(body.decode())
        except ValueError:
            raise OmsError(100, "Invalid JSON") from None
        if not isinstance(fields, dict):
            raise OmsError(100, "Invalid JSON: an order object is expected")
        if str(fields.get("company_ref_id")) != str(company.company_ref_id):
            raise OmsError(50000, "Either your RefID or your API key are incorrect")
        missing = [name for name in _REQUIRED if not isinstance(fields.get(name), str) or not fields[name]]
        items = fields.get("items")
        if missing:
            raise OmsError(0, f"Missing required field: {missing[0]}")
        if not isinstance(items, list) or not items:
            raise OmsError(0, "Missing required field: items")
        for index, item in enumerate(items):
            _check_item(index, item)
        if len(fields["shipping_country_code"]) != 2:
            raise OmsError(0, "shipping_country_code must be ISO 3166-1 alpha-2")
        try:
            # Only the format is checked: KornitX does not document the time zone, so the instant is not known.
            datetime.strptime(fields["sale_datetime"], "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007
        except ValueError:
            raise OmsError(0, "Invalid sale_datetime") from None
        if self._simulator.holds(fields["external_ref"], company.company_ref_id):
            raise OmsError(self._simulator.knobs.duplicate_code, "An order with this external_ref already exists")
        wanted = fields.get("required_dispatch_date") or NO_DATE
        past = wanted != NO_DATE and wanted < self._simulator.now().date().isoformat()
        if past and 8014 not in self._simulator.knobs.suppressed_error_codes:
            raise OmsError(8014, "required_dispatch_date is in the past")
        return fields


def _external_ref(body: bytes) -> str | None:
    """Return the order that a request is about, for faults of one order. None if the body cannot be read."""
    try:
        fields = json.loads(body)
    except ValueError:
        return None
    return fields.get("external_ref") if isinstance(fields, dict) else None


def _check_item(index: int, item: Any) -> None:
    """Refuse an item that KornitX would not accept. orderflow sends type 5; the books show every type that was sent."""
    if not isinstance(item, dict):
        raise OmsError(0, f"Invalid item specified, index {index}")
    missing = [name for name in _REQUIRED_OF_ITEM if item.get(name) in (None, "")]
    if missing:
        raise OmsError(0, f"Missing required field: items[{index}].{missing[0]}")
    quantity, kind = item["quantity"], str(item["type"])
    if not isinstance(quantity, int) or quantity < 1 or kind not in ("1", "2", "3", "4", "5", "7"):
        raise OmsError(0, f"Invalid item specified, index {index}")

"""KornitX, the OMS: what an order looks like there, and the one call that puts it there (oms-api 3, 6, 7, 10)."""

import re
import unicodedata
from base64 import b64encode
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cache
from gettext import GNUTranslations
from pathlib import Path
from typing import Any, Final, Literal

import httpx
import pycountry
import simplejson

from adapters.messages.wire import instant, storable, usable_id
from adapters.ports import (
    AccountFault,
    Duplicate,
    OnCall,
    OrderflowError,
    OutcomeUnknown,
    Rejected,
    RemoteError,
    Unreadable,
)
from adapters.remotes.http import Remote, Reply, outcome_of, retry_after_seconds, safe_code
from statemachine.facts import CLOSED_LINE_STATES, Part

#: No KornitX artwork; the customer's words are the product (oms-api 3.3).
TEXTUAL_ITEM: Final = 5


class Unimportable(OrderflowError):
    """The order lacks what an import needs and nothing else can give. The text names the fields, never a value."""

    def __init__(self, missing: Sequence[str]) -> None:
        super().__init__("missing: " + ", ".join(missing))
        self.missing = tuple(missing)


# -- Countries: Mirakl says alpha-3 or just a label in some language, KornitX wants alpha-2 ----------------------

#: Labels that shops meet and that neither ISO nor its translations hold.
_OTHER_NAMES: Final = {
    "UK": "GB",
    "Great Britain": "GB",
    "England": "GB",
    "Scotland": "GB",
    "Wales": "GB",
    "Republic of Ireland": "IE",
    "The Netherlands": "NL",
    "Turkey": "TR",
    "Россия": "RU",
}


def country_code(iso: str | None, label: str | None) -> str | None:
    """ISO 3166-1 alpha-2 of a country given by code (alpha-3 or -2), or else by its name in any language.

    None for what is unknown or ambiguous: nothing is ever cut to two letters.
    """
    return _by_code(iso or "") or _by_code(label or "") or _codes_by_name().get(_plain(label or ""))


def _by_code(code: str) -> str | None:
    code = code.strip().upper()
    if len(code) not in (2, 3) or not (code.isascii() and code.isalpha()):
        return None
    countries = pycountry.countries
    country = countries.get(alpha_2=code) if len(code) == 2 else countries.get(alpha_3=code)
    return str(country.alpha_2) if country else None


def _plain(name: str) -> str:
    """Folded for comparison: case, accents, blanks and punctuation do not count; vowel signs of other scripts do."""
    letters = unicodedata.normalize("NFKD", name.casefold())
    return "".join(c for c in letters if not "\u0300" <= c <= "\u036f" and (c.isalnum() or c >= "\u0370"))


@cache
def _codes_by_name() -> Mapping[str, str]:
    """Built once, when the first order comes without a code: a third of a second, some megabytes."""
    english = [(name, country.alpha_2) for country in pycountry.countries for name in _names(country)]
    translated = [
        (translation.gettext(name), code)
        for translation in map(_translation, sorted(Path(pycountry.LOCALES_DIR).iterdir()))
        if translation
        for name, code in english
    ]
    # English last: some translations are wrong ("Mexico" for Malaysia), and must not make a plain name ambiguous.
    return _unambiguous(translated) | _unambiguous(english) | _unambiguous(_OTHER_NAMES.items())


def _names(country: Any) -> list[str]:
    names = (getattr(country, field, None) for field in ("name", "official_name", "common_name"))
    return [name for name in names if name]


def _translation(locale: Path) -> GNUTranslations | None:
    catalog = locale / "LC_MESSAGES" / "iso3166-1.mo"
    if not catalog.is_file():
        return None
    with catalog.open("rb") as file:  # not gettext.translation(): that keeps every catalog for ever
        return GNUTranslations(file)


def _unambiguous(names: Collection[tuple[str, str]]) -> dict[str, str]:
    codes: dict[str, set[str]] = {}
    for name, code in names:
        codes.setdefault(_plain(name), set()).add(code)
    return {name: min(found) for name, found in codes.items() if len(found) == 1 and name}


# -- The order, as KornitX wants it (oms-api 10) -----------------------------------------------------------------


def build_payload(
    raw_order: bytes,
    messages: Sequence[str],
    *,
    company_ref_id: int,
    external_ref_prefix: str = "",
    shipping_methods: Mapping[str, str] | None = None,
) -> bytes:
    """The body of POST /order: the same bytes for the same order. Money stays decimal, digit for digit.

    Raises Unimportable where something is missing that cannot be derived, Unreadable where it is no order at all.
    """
    order = _load(raw_order)
    order_id = _id(order, "order_id")
    missing = [] if order_id else ["order_id"]
    shipping = _object(_object(order, "customer"), "shipping_address")
    created = instant(order.get("created_date"))
    payload = {
        "external_ref": external_ref_prefix + order_id,
        "company_ref_id": company_ref_id,
        "sale_datetime": created.strftime("%Y-%m-%d %H:%M:%S") if created else "",
        "customer_name": _name(shipping) or _name(_object(order, "customer")),
        "customer_email": _text(order, "customer_notification_email"),
        **_phones(shipping),
        **_address("shipping", shipping),
        "shipping_method": _method(order, shipping_methods or {}),
        "shipping_price": _amount(order.get("shipping_price")),
        **_billing(_object(_object(order, "customer"), "billing_address")),
        "payment_trans_id": _text(order, "transaction_number"),
        "payment_type": _text(order, "payment_type"),
        "currency_code": _text(order, "currency_iso_code"),
        "attributes": message_attributes(messages),
        "items": _items(order, missing),
    }
    missing += [source for field, source in _NEEDED.items() if payload.get(field) in ("", None)]
    if missing:
        raise Unimportable(missing)
    return simplejson.dumps(_present(payload), use_decimal=True, allow_nan=False).encode()


#: What KornitX requires, and where it comes from. No postcode: some countries have none.
_NEEDED: Final = {
    "sale_datetime": "created_date",
    "customer_name": "customer.shipping_address.lastname",
    "shipping_address_1": "customer.shipping_address.street_1",
    "shipping_address_4": "customer.shipping_address.city",
    "shipping_country_code": "customer.shipping_address.country_iso_code",
}


def message_attributes(messages: Sequence[str]) -> list[dict[str, str]]:
    """What the customer wrote, as one order attribute, oldest first. The one place that knows its shape (oms-api 4)."""
    text = "\n\n".join(message.strip() for message in messages if message.strip())
    return [{"name": ":MiraklOrderMessage", "value": text}] if text else []


def _load(raw_order: bytes) -> dict[str, Any]:
    try:
        order = simplejson.loads(raw_order.decode(), use_decimal=True)
    except (ValueError, ArithmeticError, RecursionError):
        raise Unreadable("not_json") from None
    if not isinstance(order, dict):
        raise Unreadable("not_json", "not an object")
    return order


def _present(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in ("", None, [])}


def _object(parent: Mapping[str, Any], field: str) -> dict[str, Any]:
    value = parent.get(field)
    return value if isinstance(value, dict) else {}


def _text(fields: Mapping[str, Any], field: str) -> str:
    value = fields.get(field)
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        return ""
    return storable(str(value))


def _amount(value: object) -> Decimal | int | None:
    """Money as a number; Mirakl's samples hold strings too (mirakl-api 2.1)."""
    try:
        amount = Decimal(value) if isinstance(value, str) else value
    except InvalidOperation:
        return None
    if isinstance(amount, bool) or not isinstance(amount, int | Decimal):
        return None
    return amount if Decimal(amount).is_finite() else None


def _name(fields: Mapping[str, Any]) -> str:
    return f"{_text(fields, 'firstname')} {_text(fields, 'lastname')}".strip()


def _phones(shipping: Mapping[str, Any]) -> dict[str, str]:
    first, second = _text(shipping, "phone"), _text(shipping, "phone_secondary")
    return {"customer_telephone": first or second, "customer_telephone_mobile": second if first else ""}


def _address(kind: str, address: Mapping[str, Any]) -> dict[str, str]:
    """City in line 4 and region in line 5, as the vendor's own plugin has it (oms-api 3.1)."""
    iso, label = _text(address, "country_iso_code"), _text(address, "country")
    companies = (_text(address, "company"), _text(address, "company_2"))
    fields = {
        "company": ", ".join(filter(None, companies)),
        "address_1": _text(address, "street_1"),
        "address_2": _text(address, "street_2"),
        "address_3": _text(address, "additional_info"),
        "address_4": _text(address, "city"),
        "address_5": _text(address, "state"),
        "postcode": _text(address, "zip_code"),
        "country": label,
        "country_code": (country_code(iso, label) or "") if iso or label else "",
    }
    return {f"{kind}_{field}": value for field, value in fields.items()}


def _billing(address: Mapping[str, Any]) -> dict[str, str]:
    return {
        "billing_customer_name": _name(address),
        "billing_customer_telephone": _text(address, "phone") or _text(address, "phone_secondary"),
        **_address("billing", address),
    }


def _method(order: Mapping[str, Any], shipping_methods: Mapping[str, str]) -> str:
    code, label = _text(order, "shipping_type_code"), _text(order, "shipping_type_label")
    return shipping_methods.get(code) or shipping_methods.get(label) or code or label


def _items(order: Mapping[str, Any], missing: list[str]) -> list[dict[str, Any]]:
    """The open lines; what they lack is added to `missing`."""
    lines = order.get("order_lines")
    items = []
    for index, line in enumerate(lines if isinstance(lines, list) else []):
        fields = line if isinstance(line, dict) else {}
        quantity = _quantity(fields.get("quantity"))
        if _text(fields, "order_line_state") in CLOSED_LINE_STATES or quantity == 0:
            continue  # 0: partly canceled until nothing was left
        item = {
            "external_ref": _id(fields, "order_line_id"),
            "sku": _text(fields, "offer_sku"),
            "description": _text(fields, "product_title") or _text(fields, "description"),
            "quantity": quantity,
            "type": TEXTUAL_ITEM,
            "unit_sale_price": _amount(fields.get("price_unit")),
        }
        # A description is for people, and the SKU says as much as is known.
        item["description"] = item["description"] or item["sku"]
        sources = {"external_ref": "order_line_id", "sku": "offer_sku", "quantity": "quantity"}
        missing += [f"order_lines[{index}].{source}" for field, source in sources.items() if not item[field]]
        items.append(_present(item))
    if not items:
        missing.append("order_lines")
    return items


def _id(fields: Mapping[str, Any], field: str) -> str:
    """Verbatim, as wire.py reads it: what the OMS tells later is matched by it."""
    value = fields.get(field)
    try:
        return usable_id(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    except ValueError:
        return ""


def _quantity(value: object) -> int | None:
    """Missing counts as 1; None for what is no whole number: making a wrong number of goods is worse than asking."""
    number = _amount(1 if value is None else value)
    return int(number) if number is not None and 0 <= number < 10**9 and number == int(number) else None


# -- What KornitX answers (oms-api 6, 7) -------------------------------------------------------------------------

_OPERATION: Final = "import_order"
_ACCOUNT_CODES: Final = frozenset({401, 50000, 50001})


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """How this account says what the vendor's documents do not tell: all of it is configuration (oms-api 6)."""

    duplicate_codes: frozenset[int]
    rate_limit_codes: frozenset[int]
    duplicate_message: re.Pattern[str]
    rate_limit_message: re.Pattern[str]

    def meaning(self, status: int, code: int | None, message: str) -> type[RemoteError] | None:
        """What an error is known to be: by its code, then by its message. None for all others."""
        if code in _ACCOUNT_CODES or code in self.rate_limit_codes or status in (401, 403, 429) or 300 <= status < 400:
            return AccountFault  # a redirect: the address is not KornitX's
        if code in self.duplicate_codes:
            return Duplicate
        if status >= 500:
            return None  # its words are an accident's: "duplicate key" there may be any key
        if self.duplicate_message.search(message):
            return Duplicate
        return AccountFault if self.rate_limit_message.search(message) else None


class KornitX:
    """`ports.Oms` over HTTP. One instance per company, for at most eight threads."""

    def __init__(
        self,
        *,
        base_url: str,
        company_ref_id: int,
        api_key: Callable[[], str],
        on_call: OnCall,
        auth_encoding: Literal["base64", "raw"] = "base64",
        duplicate_codes: Collection[int] = (),
        rate_limit_codes: Collection[int] = (),
        duplicate_message_regex: str = "duplicate|already exist",
        rate_limit_message_regex: str = "rate limit|too many|limit exceeded",
        rate_limit_pause_seconds: float = 60.0,
        timeout_seconds: float = 20.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._remote = Remote("oms", base_url, on_call, timeout_seconds, transport)
        self._company_ref_id = company_ref_id
        self._api_key = api_key
        self._auth_encoding = auth_encoding
        self._rate_limit_pause_seconds = rate_limit_pause_seconds
        self._vocabulary = Vocabulary(
            duplicate_codes=frozenset(duplicate_codes),
            rate_limit_codes=frozenset(rate_limit_codes),
            duplicate_message=re.compile(duplicate_message_regex, re.IGNORECASE),
            rate_limit_message=re.compile(rate_limit_message_regex, re.IGNORECASE),
        )

    def close(self) -> None:
        self._remote.close()

    def import_order(self, payload: bytes) -> tuple[Part, ...]:
        """POST /order with exactly these bytes; what the OMS made of it.

        An empty answer: the order was imported, under which ids is not known. Raises RemoteError, Duplicate too.
        """
        return self._remote.call(
            _OPERATION, "POST", "/order", self._read, authorization=self._authorization(), content=payload
        )

    def _authorization(self) -> str:
        """The vendor shows it raw, every client we read encodes it (oms-api 2.1)."""
        pair = f"{self._company_ref_id}:{self._api_key().strip()}"
        return "Basic " + (b64encode(pair.encode()).decode() if self._auth_encoding == "base64" else pair)

    def _read(self, reply: Reply) -> tuple[Part, ...]:
        answer = _json(reply.body)
        if 200 <= reply.status < 300 and answer is not None and not _is_error(answer):
            # It is stored, whatever the rest of the answer looks like; has_error is the OMS's matter (oms-api 3).
            return _parts(answer)
        raise self._failure(reply, answer)

    def _failure(self, reply: Reply, answer: object) -> RemoteError:
        code, message = _error_of(answer)
        kind = self._vocabulary.meaning(reply.status, code, message)
        if kind is None:
            # A 2xx that carries an error or no JSON, a gateway's page, every 5xx: the order may be stored (oms-api 6).
            certain = 400 <= reply.status < 500 and reply.status != 408 and answer is not None
            kind = Rejected if certain else OutcomeUnknown
        outcome = outcome_of(reply.status)
        pause = retry_after_seconds(reply.headers)
        if pause is None and kind is AccountFault and reply.status not in (401, 403) and code not in _ACCOUNT_CODES:
            pause = self._rate_limit_pause_seconds
        return kind(
            _OPERATION,
            "body_error" if outcome == "2xx" else outcome,
            status=reply.status,
            code=safe_code(code),
            words=message or storable(reply.body[:1200].decode(errors="replace"), 300),
            retry_after_seconds=pause,
        )


def _json(body: bytes) -> object:
    """None for what is no JSON."""
    try:
        return simplejson.loads(body.decode())
    except (ValueError, RecursionError):
        return None


def _is_error(answer: object) -> bool:
    return isinstance(answer, dict) and bool(answer.get("error")) and "id" not in answer


def _error_of(answer: object) -> tuple[int | None, str]:
    """Code and message of `{"error": {"message", "code"}}`."""
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict):
        return None, ""
    message = error.get("message")
    return _integer(error.get("code")), storable(message, 500) if isinstance(message, str) else ""


def _integer(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and re.fullmatch("[0-9]{1,18}", value):
        return int(value)
    return value if isinstance(value, int) and abs(value) < 2**63 else None


def _parts(answer: object) -> tuple[Part, ...]:
    """One part per order in the answer; none at all if one lacks its id: half a list would look complete."""
    orders = [order if isinstance(order, dict) else {} for order in (answer if isinstance(answer, list) else [answer])]
    parts = [_part(oms_id, order) for order in orders if (oms_id := _integer(order.get("id")))]
    return tuple(parts) if len(parts) == len(orders) else ()


def _part(oms_id: int, order: Mapping[str, Any]) -> Part:
    items = order.get("items")
    lines = {_id(item, "external_ref") for item in (items if isinstance(items, list) else []) if isinstance(item, dict)}
    return Part(oms_id, _text(order, "ref"), tuple(sorted(lines - {""})), order.get("has_error") is True)

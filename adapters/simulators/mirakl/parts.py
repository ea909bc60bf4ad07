"""What the simulated Mirakl allows of an order, and which fields it writes (docs/mirakl.md 4.4, 5.4)."""

from adapters.simulators.mirakl.model import DEAD, DEBIT_STARTS_FROM, SENT, ApiError, Json, Knobs, Marketplace


def give_reason(part: Json, prefix: str, code: str) -> None:
    part[f"{prefix}_reason_code"] = code
    part[f"{prefix}_reason_label"] = code.replace("_", " ").capitalize()


def can_cancel(order: Json) -> bool:
    """Whether the shop may cancel the order (docs/mirakl.md 4.4).

    It may do so before the customer has paid. From SHIPPED on it may do so only in the workflows whose debit starts
    there.
    """
    state = order["order_state"]
    if state in (*DEAD, "CLOSED") or order["customer_debited_date"] is not None:
        return False
    return state not in SENT or order["payment_workflow"] in DEBIT_STARTS_FROM


def carrier_fields(marketplace: Marketplace, knobs: Knobs, tracking: Json) -> Json:
    """Return the order's fields after OR23. Raises ApiError if the body has no usable carrier (docs/mirakl.md 5.4)."""
    # Mirakl's own connector sends an empty string for a missing value.
    code, name, number = (tracking.get(key) or None for key in ("carrier_code", "carrier_name", "tracking_number"))
    url = tracking.get("carrier_url") or None
    carrier = next((known for known in marketplace.carriers if known.code == code), None)
    if carrier is not None:
        name, url = carrier.label, carrier.tracking_url
        if url is not None and "{trackingId}" in url:
            if number is None:
                raise ApiError(400, f"A tracking number is mandatory for carrier '{code}'.")
            url = url.replace("{trackingId}", number)
    elif code is not None and knobs.unknown_carrier_is_error:
        raise ApiError(400, f"Carrier with code '{code}' does not exist.")
    elif not marketplace.alternative_carriers:
        raise ApiError(400, "Only registered carriers are allowed.")
    elif name is None:
        raise ApiError(400, "The carrier name is mandatory for an unregistered carrier.")
    return {
        "shipping_carrier_code": None if carrier is None else carrier.code,
        "shipping_company": name,
        "shipping_tracking": number,
        "shipping_tracking_url": url,
    }

"""The two simulated marketplaces, and orders in the form that real orders have."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from adapters.simulators.mirakl.model import OWN_CENTER, SENT, Carrier, Marketplace, ShippingType, stamp

Json = dict[str, Any]

ALPHA = Marketplace(
    name="alpha",
    shop_id=2104,
    api_key="7f3c2f6e-51b4-4d0e-9c1a-a1fa00002104",
    carriers=(
        Carrier("DPDUK", "DPD UK", "https://track.example/dpd/{trackingId}"),
        Carrier("RoyalMail", "Royal Mail", "https://track.example/royalmail/{trackingId}"),
        Carrier("EVRI", "Evri", "https://track.example/evri/{trackingId}"),
        Carrier("POST", "Letter post"),
    ),
    shipping_types=(ShippingType("STD", "Standard"), ShippingType("EXP", "Express")),
)
BETA = Marketplace(
    name="beta",
    shop_id=31,
    api_key="0c9d7a11-2be8-4f53-8d77-be7a00000031",
    carriers=(
        Carrier("LAPOSTE", "Colissimo", "https://suivi.example/colissimo/{trackingId}"),
        Carrier("CHRONO", "Chronopost", "https://suivi.example/chronopost/{trackingId}"),
        Carrier("MRELAY", "Mondial Relay"),
    ),
    shipping_types=(
        ShippingType("DOM", "Livraison à domicile"),
        ShippingType("SUIVI", "Livraison suivie", mandatory_tracking=True),
    ),
    currency="EUR",
    country="FRA",
    country_label="France",
    locale="fr_FR",
    channel="FR_WEB",
)
MARKETPLACES = {"alpha": ALPHA, "beta": BETA}
COMPANIES = {"alpha": 99001, "beta": 99002}  # the sales channel company of each shop at the OMS
# The SKUs of the seller's catalogue. BETA's seller accepts by the policy known-skus.
KNOWN_SKUS = {
    "alpha": ("MUG-11OZ-WHT", "TEE-BLK-M", "PRINT-A3-OAK", "CUSHION-45", "FRAME-A4-OAK"),
    "beta": ("TASSE-33CL", "TSHIRT-NOIR-M", "AFFICHE-A3", "COUSSIN-45", "FRAME-A4-CHENE"),
}
#: The OMS's name of a carrier that the seller's carrier map gives the name of each marketplace's first carrier.
MAPPED_CARRIER = "Canary Express"
FRAMED = 4  # the index of the SKU, in each list, that another fulfiller makes
ROUTES = {"FRAME-": "framer"}  # prefix of the SKU: fulfiller. The OMS splits orders by this rule


@dataclass(frozen=True, slots=True)
class Line:
    sku: str
    quantity: int = 1
    unit_price: float = 12.0
    state: str | None = None  # None: the state of the order


# -- An order as JSON (docs/mirakl.md 10.1). All names of people contain "Canary", so that tests find leaks -------

FIRST_NAMES = ("Nora", "Imran", "Chloé", "Tom", "Aoife", "Léa", "Priya", "Jürgen")
LAST_NAMES = ("Whitfield", "Sadiq", "Béranger", "O'Neill", "Marchand", "Lindqvist", "Okafor", "Weiß")


def build_order(
    marketplace: Marketplace,
    order_id: str,
    *,
    created: datetime,
    lines: Sequence[Line],
    state: str = "WAITING_ACCEPTANCE",
    workflow: str = "PAY_ON_ACCEPTANCE",
    shipping_type: str | None = None,
    person: int = 0,
    tracking: str | None = None,
    decided_by_hand: bool = False,
) -> Json:
    """Make an order in this state. `person` selects the customer and unusual values of the address."""
    kind = next((one for one in marketplace.shipping_types if one.code == shipping_type), None)
    kind = kind or marketplace.shipping_types[0]
    made = stamp(created)
    shippable = state in ("SHIPPING", *SENT)
    debited = made if shippable and workflow == "PAY_ON_ACCEPTANCE" else None
    shown_lines = [
        _line(marketplace, f"{order_id}-{index}", index, line, made=made, debited=debited, state=state)
        for index, line in enumerate(lines, 1)
    ]
    if state in SENT:
        for line in shown_lines:
            line["shipped_date"] = made
    totals = {
        name: round(sum(line[name] for line in shown_lines), 2)
        for name in ("price", "shipping_price", "total_price", "total_commission")
    }
    fields = {
        **_fields_of_any_order(),
        **_shipping(marketplace, kind, created, tracking, shippable=shippable),
        "acceptance_decision_date": made if decided_by_hand else None,
        "channel": None if person % 7 == 3 else {"code": marketplace.channel, "label": "Web shop"},
        "commercial_id": order_id.rsplit("-", 1)[0],
        "created_date": made,
        "currency_iso_code": marketplace.currency,
        "customer": _customer(marketplace, person),
        "customer_debited_date": debited,
        "customer_notification_email": f"canary+{person:05d}@notification.example",
        "last_updated_date": made,
        "order_additional_fields": [{"code": "gift-wrap", "type": "BOOLEAN", "value": "true"}]
        if person % 5 == 0
        else [],
        "order_id": order_id,
        "order_lines": shown_lines,
        "order_state": state,
        "payment_duration": 30 if workflow == "PAY_ON_DUE_DATE" else None,
        "payment_workflow": workflow,
        "promotions": {} if person % 6 == 1 else {"applied_promotions": [], "total_deduced_amount": 0.0},
        "references": {"order_reference_for_customer": f"PO-{person}", "order_reference_for_seller": None}
        if person % 4 == 0
        else None,
        "transaction_date": debited,
        "transaction_number": f"psp-{order_id}" if debited else None,
    }
    return totals | dict(sorted(fields.items()))


def _fields_of_any_order() -> Json:
    return {
        "can_cancel": False,  # the simulator sets it, and can_shop_ship
        "can_shop_ship": False,
        "customer_directly_pays_seller": False,
        "delivery_date": None,
        "discount_campaigns": [],
        "fulfillment": {"center": {"code": OWN_CENTER}},
        "fully_refunded": False,
        "has_customer_message": False,
        "has_incident": False,
        "has_invoice": False,
        "invoice_details": None,
        "leadtime_to_ship": 3,
        "order_refunds": None,
        "order_state_reason_code": None,
        "order_state_reason_label": None,
        "order_tax_mode": "TAX_INCLUDED",
        "order_taxes": None,
        "paymentType": "CARD",
        "payment_type": "CARD",
        "quote_id": None,
        "shipping_carrier_standard_code": None,
        "shipping_pudo_id": None,
    }


def _shipping(
    marketplace: Marketplace, kind: ShippingType, created: datetime, tracking: str | None, *, shippable: bool
) -> Json:
    carrier = marketplace.carriers[0] if tracking else None
    url = carrier.tracking_url if carrier else None
    return {
        "shipping_carrier_code": carrier.code if carrier else None,
        "shipping_company": carrier.label if carrier else None,
        "shipping_deadline": stamp(created + timedelta(days=3)) if shippable else None,
        "shipping_tracking": tracking,
        "shipping_tracking_url": url.replace("{trackingId}", tracking) if url and tracking else None,
        "shipping_type_code": kind.code,
        "shipping_type_label": kind.label,
        "shipping_type_standard_code": f"CU_ADD-{kind.code}",
        "shipping_zone_code": marketplace.country[:2],
        "shipping_zone_label": marketplace.country_label,
    }


def _customer(marketplace: Marketplace, person: int) -> Json:
    names = {
        "civility": ("Mrs", "Mr", None)[person % 3],
        "firstname": f"{FIRST_NAMES[person % len(FIRST_NAMES)]}-Canary",
        "lastname": f"Canary-{LAST_NAMES[person // 3 % len(LAST_NAMES)]}",
    }
    # Some real payloads have no country code, only a label in the operator's spelling.
    label_only = person % 17 == 5
    address = names | {
        "city": "Canaryford" if marketplace.country == "GBR" else "Canary-sur-Seine",
        "company": f"Canary Studio {person}" if person % 4 == 2 else None,
        "company_2": None,
        "country": marketplace.country_label.upper() if label_only else marketplace.country_label,
        "country_iso_code": None if label_only else marketplace.country,
        "phone": f"+44 0000 CANARY {person:05d}",
        "phone_secondary": None,
        "state": None,
        "street_1": f"{person % 90 + 1} Canary Row",
        "street_2": ("", None, "Canary Yard")[person % 3],
        "zip_code": "BS1 4QA" if marketplace.country == "GBR" else "75011",
    }
    delivery = "Leave with Canary at reception" if person % 4 == 1 else None
    return names | {
        "accounting_contact": None,
        "billing_address": address,
        "customer_id": f"cust-canary-{person}",
        "delivery_contact": None,
        "locale": marketplace.locale,
        "organization": None,
        "shipping_address": address | {"additional_info": delivery},
    }


def _line(
    marketplace: Marketplace,
    line_id: str,
    index: int,
    line: Line,
    *,
    state: str,
    made: str,
    debited: str | None,
) -> Json:
    state = line.state or state
    open_line = state not in ("REFUSED", "CANCELED")
    fields = {
        **_amounts(line, index),
        "can_refund": debited is not None and open_line,
        "cancelations": [],
        "category_code": line.sku.partition("-")[0],
        "category_label": line.sku.partition("-")[0].capitalize(),
        "created_date": made,
        "debited_date": debited if open_line else None,
        "description": None,
        "last_updated_date": made,
        "offer_id": 41000 + index,
        "offer_sku": line.sku,
        "offer_state_code": "11",
        "order_line_additional_fields": [
            {"code": "personalisation-text", "type": "STRING", "value": "Happy 40th, Canary"}
        ]
        if index == 2
        else [],
        "order_line_id": line_id,
        "order_line_index": index,
        "order_line_state": state,
        "order_line_state_reason_code": None if open_line else "OUT_OF_STOCK",
        "order_line_state_reason_label": None if open_line else "Out of stock",
        "product_medias": [{"media_url": "/media/product/image/4d1e", "mime_type": "JPEG", "type": "SMALL"}],
        "product_shop_sku": line.sku,
        "product_sku": f"MKP{abs(index * 3907):012d}",
        "product_title": f"{line.sku.replace('-', ' ').capitalize()}, personalised",
        "promotions": [],
        "quantity": line.quantity,
        "received_date": None,
        "refunds": [],
        "shipped_date": None,
        "shipping_from": {
            "address": {"city": "Leeds", "country_iso_code": marketplace.country},
            "warehouse": None,
        },
    }
    return dict(sorted(fields.items()))


def _amounts(line: Line, index: int) -> Json:
    """Return the amounts of a line, with tax. The first line has the shipping price."""
    price = round(line.unit_price * line.quantity, 2)
    shipping = 4.95 if index == 1 else 0.0
    commission = round(price * 0.15, 2)
    commission_tax = round(commission * 0.2, 2)
    return {
        "commission_fee": commission,
        "commission_rate_vat": 20.0,
        "commission_taxes": [{"amount": commission_tax, "code": "TAXDEFAULT", "rate": 20.0}],
        "commission_vat": commission_tax,
        "origin_unit_price": line.unit_price,
        "price": price,
        "price_additional_info": None,
        "price_unit": line.unit_price,
        "shipping_price": shipping,
        "shipping_taxes": [_tax(shipping)] if shipping else [],
        "taxes": [_tax(price)],
        "total_commission": round(commission + commission_tax, 2),
        "total_price": round(price + shipping, 2),
    }


def _tax(gross: float) -> Json:
    return {
        "amount": round(gross / 6, 2),
        "code": "VAT",
        "rate": 20.0,
        "tax_calculation_rule": "PROPORTIONAL_TO_AMOUNT",
    }

"""PC01, SH21, SH12: the answers that do not depend on any order (docs/mirakl.md 5.1)."""

from adapters.simulators.mirakl.marketplace import MiraklSimulator
from adapters.simulators.mirakl.model import Json


def platform(simulator: MiraklSimulator) -> Json:
    """PC01: what the operator configured."""
    shop, knobs = simulator.marketplace, simulator.knobs
    return {
        "features": {
            "disable_seller_alternative_carrier": not shop.alternative_carriers,
            "multi_currency": False,
            "no_reply_needed": False,
            "offer_prices_decimals": "2",
            "order_tax_mode": "TAX_INCLUDED",
            "order_workflows": {
                "no_customer_payment_confirmation": "NO_CUSTOMER_PAYMENT_CONFIRMATION" in shop.workflows,
                "order_acceptance": "AUTOMATIC" if knobs.automatic_acceptance else "BOTH",
                "pause_debit_workflow": False,
                "pay_on_due_date": "PAY_ON_DUE_DATE" in shop.workflows,
                "pay_on_shipment": "PAY_ON_SHIPMENT" in shop.workflows,
                "shipping_and_billing_details_before_acceptance": knobs.address_before_acceptance,
            },
            "shipment": {"multi_part_item_shipment": False, "multi_shipment": False},
        },
        "modules": {"order_management": True, "order_management_mode": "HYBRID"},
        "platform_name": shop.name,
        "tenant_name": shop.name,
        "timezone": "UTC",
    }


def carriers(simulator: MiraklSimulator) -> Json:
    """SH21: the registered carriers, sorted by label."""
    return {
        "carriers": [
            {
                "code": carrier.code,
                "label": carrier.label,
                "standard_code": None,
                "tracking_url": carrier.tracking_url,
            }
            for carrier in sorted(simulator.marketplace.carriers, key=lambda carrier: carrier.label)
        ]
    }


def shipping_types(simulator: MiraklSimulator) -> Json:
    """SH12: the shipping types."""
    return {
        "shipping_types": [
            {
                "code": kind.code,
                "label": kind.label,
                "description": None,
                "standard_code": f"CU_ADD-{kind.code}",
                "mandatory_tracking": kind.mandatory_tracking,
                "click_and_collect": False,
                "delivery_by_operator": kind.delivery_by_operator,
                "ignore_lead_time_to_ship": False,
            }
            for kind in simulator.marketplace.shipping_types
        ]
    }

"""A01, SH21, SH12, as docs/mirakl.md 5.1 says."""

from tests.adapters.simulators.mirakl.shop import Shop


def test_account_carriers_and_shipping_types() -> None:
    shop = Shop()
    account = shop.ask("GET", "/api/account").json()
    assert account["shop_id"] == 7
    assert account["shop_state"] == "OPEN"
    assert account["currency_iso_code"] == "GBP"
    carriers = shop.ask("GET", "/api/shipping/carriers").json()["carriers"]
    assert [carrier["label"] for carrier in carriers] == ["Alphabet Post", "DPD"]
    kinds = shop.ask("GET", "/api/shipping/types").json()["shipping_types"]
    assert kinds[1]["code"] == "SAFE"
    assert kinds[1]["mandatory_tracking"] is True

"""A01, A02, S30, S31, S33, as docs/mirakl.md 5.1 says."""

import io
import zipfile

import pytest

from adapters.simulators.faults import Fault
from adapters.simulators.mirakl.account import Document
from tests.adapters.simulators.mirakl.shop import PLACE, Shop


@pytest.fixture
def shop() -> Shop:
    shop = Shop()
    for number, name in ((1, "legal.jpeg"), (2, "card.pdf")):
        shop.simulator.account.documents.append(Document(number, name, f"TYPE{number}", name.encode(), shop.clock()))
    return shop


def test_an_unknown_document_is_a_404(shop: Shop) -> None:
    for path in ("download?document_ids=1,9", "download?type_codes=TYPE9"):
        assert shop.ask("GET", f"/api/shops/documents/{path}").status_code == 404
    assert shop.ask("DELETE", "/api/shops/documents/9").status_code == 404


@pytest.mark.parametrize("operation", ["A01", "S30", "S31"])
@pytest.mark.parametrize("status", [401, 403, 404, 429])
def test_each_operation_can_be_refused(shop: Shop, operation: str, status: int) -> None:
    paths = {"A01": "account", "S30": "shops/documents", "S31": "shops/documents/download?document_ids=1"}
    shop.simulator.knobs.faults.append(Fault(operation, "answer", status=status))
    assert shop.ask("GET", f"/api/{paths[operation]}").status_code == status
    assert shop.ask("GET", f"/api/{paths[operation]}").status_code == 200


def test_another_shop_is_forbidden(shop: Shop) -> None:
    assert shop.ask("GET", "/api/shops/documents?shop_id=8").status_code == 403


def test_only_the_named_fields_change(shop: Shop) -> None:
    before = shop.ask("GET", "/api/account").json()
    answer = shop.ask("PUT", "/api/account", json={"web_site": "https://seller.example"}).json()
    assert answer == {"errors": [], "updated": {"web_site": "https://seller.example"}}
    after = shop.ask("GET", "/api/account").json()
    assert after["contact_informations"]["email"] == before["contact_informations"]["email"]
    assert after["contact_informations"]["web_site"] == "https://seller.example"


def test_one_document_comes_as_it_is_and_several_as_an_archive(shop: Shop) -> None:
    assert shop.ask("GET", "/api/shops/documents/download?document_ids=1").content == b"legal.jpeg"
    packed = shop.ask("GET", "/api/shops/documents/download?document_ids=1,2").content
    names = zipfile.ZipFile(io.BytesIO(packed)).namelist()
    assert names == [f"{PLACE.shop_id}/legal.jpeg", f"{PLACE.shop_id}/card.pdf"]


def test_a_deleted_document_is_gone(shop: Shop) -> None:
    assert shop.ask("DELETE", "/api/shops/documents/1").status_code == 204
    (left,) = shop.ask("GET", "/api/shops/documents").json()["shop_documents"]
    assert left["id"] == 2

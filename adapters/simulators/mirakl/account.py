"""A01, A02, S30, S31, S33: the seller's own account and its business documents (docs/mirakl.md 5.1, 5.11)."""

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from adapters.simulators.mirakl.model import ApiError, Json, Marketplace, stamp

#: The texts that A02 can set, and where A01 shows them: in the account itself, or in its `contact_informations`.
_TEXTS: Final = ("closed_from", "closed_to", "description", "recycling_policy", "return_policy", "shipping_country")
_CONTACTS: Final = ("email", "fax", "web_site")
_NEVER_NULL: Final = ("email", "shop_name")


@dataclass(frozen=True, slots=True)
class Document:
    """One business document of the shop."""

    id: int
    file_name: str
    kind: str
    content: bytes
    uploaded_at: datetime


#: The papers of a simulated world's shops: file name, type and content. A name can be any text.
_PAPERS: Final = (
    ("../identity card.jpeg", "IDENTITY", b"\xff\xd8\xff\xe0 Nora Canary"),
    ("registration.pdf", "REGISTRATION", b"%PDF-1.4 Print House, owner Nora Canary"),
    ("bank details.pdf", "BANK", b"%PDF-1.4 IBAN of Nora Canary"),
)


class SellerAccount:
    """What the account holds beside orders. The caller holds the simulator's lock."""

    def __init__(self, shop: Marketplace, now: Callable[[], datetime]) -> None:
        self._now = now
        self._shop_id = shop.shop_id
        self.changed_at = now()
        self.documents: list[Document] = []
        self.fields: Json = {
            "shop_id": shop.shop_id,
            "shop_name": "Print House",
            "shop_state": "OPEN",
            "suspension_type": None,
            "closed_from": None,
            "closed_to": None,
            "currency_iso_code": shop.currency,
            "model": "MARKETPLACE",
            "channels": [shop.channel],
            "domains": ["PRODUCT"],
            "kyc": {"status": "APPROVED", "reason": None},
            "is_professional": True,
            "premium": False,
            "free_shipping": False,
            "payment_method_mandatory": False,
            "shipping": {"lead_time_to_ship": 3},
            "shippings": [],
            "shipping_country": shop.country,
            "shop_additional_fields": [],
            "contact_informations": {"email": "canary@seller.example", "fax": None, "web_site": None},
            "payment_info": {"@type": "IBAN", "owner": "Nora Canary"},
            "date_created": "2021-04-06T09:30:00Z",
            "offers_count": 12,
            "evaluations_count": 0,
            "approval_rate": 0.99,
            "approval_delay": 1800,
            "order_messages_response_delay": 7200,
            "grade": None,
        }

    def a01(self, orders_count: int) -> Json:
        return self.fields | {"last_updated_date": stamp(self.changed_at), "orders_count": orders_count}

    def a02(self, _request: Request, body: bytes) -> Response:
        """Set the fields that the body names, and leave all others as they are (inferred)."""
        try:
            asked = json.loads(body)
        except ValueError:
            asked = None
        if not isinstance(asked, dict):
            raise ApiError(400, "The body is not a JSON object.", "VALIDATION_ERROR")
        errors, updated = [], {}
        for name, value in asked.items():
            if name not in (*_TEXTS, *_CONTACTS, "shop_name") or (value is None and name in _NEVER_NULL):
                errors.append({"code": "invalid.value", "field": name, "message": "The value is not valid."})
                continue
            place = self.fields["contact_informations"] if name in _CONTACTS else self.fields
            place[name] = updated[name] = value
        self.changed_at = self._now()
        return JSONResponse({"errors": errors, "updated": updated})

    def upload_papers(self) -> None:
        """The seller uploads some documents, as in the operator's portal."""
        for name, kind, content in _PAPERS:
            number = 4_000 + len(self.documents)
            self.documents.append(Document(number, name, kind, content, self._now()))

    def s30(self, _request: Request, _body: bytes) -> Response:
        shown = [
            {"id": one.id, "file_name": one.file_name, "type": one.kind, "date_uploaded": stamp(one.uploaded_at)}
            for one in self.documents
        ]
        return JSONResponse({"shop_documents": shown, "total_count": len(shown)})

    def s31(self, request: Request, _body: bytes) -> Response:
        """Answer one document that was asked for by its id as it is, and any other selection as a ZIP with a folder for
        the shop. An unknown id or type is a 404."""
        query = request.query_params
        known = {str(one.id): one for one in self.documents}
        if "document_ids" in query:
            ids = query["document_ids"].split(",")
            if not set(ids) <= set(known):
                raise ApiError(404, "Not Found")
            found = [known[one] for one in ids]
            if len(found) == 1:
                return _file(found[0].content, found[0].file_name)
        else:
            kinds = query["type_codes"].split(",") if "type_codes" in query else [one.kind for one in self.documents]
            if not set(kinds) <= {one.kind for one in self.documents}:
                raise ApiError(404, "Not Found")
            found = [one for one in self.documents if one.kind in kinds]
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for document in found:
                archive.writestr(f"{self._shop_id}/{document.file_name}", document.content)
        return _file(packed.getvalue(), f"documents-{self._now():%Y%m%d%H%M%S}.zip")

    def s33(self, request: Request, _body: bytes) -> Response:
        kept = [one for one in self.documents if str(one.id) != request.path_params["document_id"]]
        if len(kept) == len(self.documents):
            raise ApiError(404, "Not Found")
        self.documents[:] = kept
        return Response(status_code=204)


def _file(content: bytes, name: str) -> Response:
    header = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, headers=header, media_type="application/octet-stream")

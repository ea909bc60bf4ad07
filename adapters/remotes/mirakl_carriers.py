"""How a carrier and a tracking number are named in OR23 (docs/mirakl.md 5.1, 5.4)."""

import json
import unicodedata

from adapters.errors import Rejected
from adapters.ports import Carrier, Catalog
from adapters.remotes.http import CallOutcome
from statemachine.facts import Tracking


def tracking_body(tracking: Tracking, catalog: Catalog, other_carrier: str) -> bytes:
    """The body of OR23 (docs/mirakl.md 5.4, docs/kornitx.md 11.1).

    Without a tracking number the carrier is sent as free text if the marketplace allows free text. A registered carrier
    may need a number. And without a number, only the carrier's name can show in a later read that Mirakl holds this
    tracking (Tracking.shows). `other_carrier` is the carrier's name if the OMS gives none.

    Raises Rejected, without a call, for a tracking that Mirakl would refuse.
    """
    if not (tracking.carrier or tracking.number):
        raise _refused("TRACKING_EMPTY", "there is neither a carrier nor a tracking number")
    name = tracking.carrier or other_carrier
    carrier = _registered(name, catalog)
    fields: dict[str, str] = {}
    if carrier and (tracking.number or not catalog.alternative_carriers):
        if carrier.needs_number and not tracking.number:
            raise _refused("TRACKING_NUMBER_MISSING", "this carrier needs a tracking number")
        fields["carrier_code"] = carrier.code
    elif catalog.alternative_carriers:
        fields["carrier_name"] = name
        if tracking.url.lower().startswith(("http://", "https://")):
            fields["carrier_url"] = tracking.url
    else:
        raise _refused("CARRIER_UNKNOWN", "the marketplace does not know this carrier and allows no other")
    if tracking.number:
        fields["tracking_number"] = tracking.number
    return json.dumps(fields).encode()


def _refused(code: str, words: str) -> Rejected:
    return Rejected("OR23", CallOutcome.OTHER_4XX, code=code, words=words)


def _registered(name: str, catalog: Catalog) -> Carrier | None:
    """The registered carrier whose code is `name`, or else whose label is `name`. None if there is no such carrier.

    Case, accents and punctuation are ignored.
    """
    wanted = _plain(name)
    by_label = {_plain(carrier.label): carrier for carrier in reversed(catalog.carriers)}
    by_code = {_plain(carrier.code): carrier for carrier in reversed(catalog.carriers)}
    return (by_code.get(wanted) or by_label.get(wanted)) if wanted else None


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKD", name).casefold()))

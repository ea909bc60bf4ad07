"""How a carrier and a tracking number are named in OR23 (docs/mirakl.md 5.1, 5.4)."""

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from adapters.errors import NOT_SENT, Rejected, Retryable
from adapters.messages.text import web_url
from adapters.ports import Carrier, Catalog
from statemachine.facts import Tracking


@dataclass(frozen=True, slots=True)
class CarrierNames:
    """How one shop names carriers at Mirakl.

    `mapped`: for a carrier of the OMS, the code, the label or the standard code of a registered carrier, or a name that
    goes out as free text. `other`: the name that is sent if the OMS gives none.
    """

    mapped: Mapping[str, str] = field(default_factory=dict)
    other: str = "Other"

    def of(self, name: str) -> str:
        """What the shop calls this carrier of the OMS."""
        wanted = _plain(name)
        return next((ours for theirs, ours in self.mapped.items() if wanted and _plain(theirs) == wanted), name)

    def stands_for_others(self, carrier: Carrier) -> bool:
        """Whether this is the registered carrier "Other": Mirakl knows no URL for it, so it needs ours."""
        return not {"other", _plain(self.other)}.isdisjoint((_plain(carrier.code), _plain(carrier.label)))


DEFAULT_NAMES: Final = CarrierNames()


def tracking_body(tracking: Tracking, catalog: Catalog, names: CarrierNames = DEFAULT_NAMES) -> bytes:
    """The body of OR23 (docs/mirakl.md 5.4, docs/kornitx.md 11.1).

    Without a tracking number the carrier is sent as free text, as the OMS names it, if the marketplace allows free
    text. This has two reasons: a registered carrier may need a number, and without a number only the carrier's name in
    a later read shows that Mirakl holds this tracking (Tracking.shows).

    Raises Rejected, without a call, for a tracking that Mirakl would refuse, and Retryable if nobody knows because the
    carriers (SH21) could not be read.
    """
    if not (tracking.carrier or tracking.number):
        raise _refused("TRACKING_EMPTY", "there is neither a carrier nor a tracking number")
    by_code = bool(tracking.number) or not catalog.alternative_carriers
    name = (names.of(tracking.carrier) if by_code else tracking.carrier) or names.other
    carrier = registered(name, catalog) if by_code else None
    fields: dict[str, str] = {}
    if carrier:
        if carrier.needs_number and not tracking.number:
            raise _refused("TRACKING_NUMBER_MISSING", "this carrier needs a tracking number")
        fields["carrier_code"] = carrier.code
    elif catalog.alternative_carriers:
        fields["carrier_name"] = name
    elif catalog.carriers is None:
        words = "the marketplace's carriers could not be read, and it allows no free text"
        raise Retryable("SH21", NOT_SENT, code="NOT_READ", words=words)
    else:
        raise _refused("CARRIER_UNKNOWN", "the marketplace does not know this carrier and allows no other")
    needs_url = carrier is None or names.stands_for_others(carrier)  # Mirakl makes the URL of any other
    if needs_url and (url := web_url(tracking.url)):
        fields["carrier_url"] = url
    if tracking.number:
        fields["tracking_number"] = tracking.number
    return json.dumps(fields).encode()


def registered(name: str, catalog: Catalog) -> Carrier | None:
    """The registered carrier with this code, or else this label, or else this standard code. None if there is none.

    Case, accents and punctuation are ignored.
    """
    wanted = _plain(name)
    if not wanted:
        return None
    carriers = catalog.carriers or ()
    return (
        next((one for one in carriers if _plain(one.code) == wanted), None)
        or next((one for one in carriers if _plain(one.label) == wanted), None)
        or next((one for one in carriers if _plain(one.standard_code) == wanted), None)
    )


def _refused(code: str, words: str) -> Rejected:
    return Rejected("OR23", NOT_SENT, code=code, words=words)


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKD", name).casefold()))

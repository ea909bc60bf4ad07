"""The settings of a shop, and of the OMS that all shops have in common."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from adapters.messages.oms_statuses import DISPATCHED_STATUSES
from consumer.config.types import (
    AttributeName,
    Host,
    Hours,
    Regex,
    Seconds,
    Table,
    TimeZone,
    WebAddress,
    is_loopback,
    is_readable_by_others,
)
from statemachine.facts import EPOCH

PaymentWorkflow = Literal[
    "PAY_ON_ACCEPTANCE", "PAY_ON_SHIPMENT", "PAY_ON_DELIVERY", "PAY_ON_DUE_DATE", "NO_CUSTOMER_PAYMENT_CONFIRMATION"
]
#: Mirakl allows one OR11 a minute (docs/mirakl.md 3).
SHORTEST_POLL_SECONDS: Final = 60


class OmsTable(Table):
    """KornitX. Its limits hold for one company, whatever the number of shops and processes."""

    #: The address of KornitX's API.
    base_url: WebAddress = "https://api-sl-2-2.kornitx.net"
    #: How the key of a company goes into the Authorization header (docs/kornitx.md 2.1).
    auth_encoding: Literal["base64", "raw"] = "base64"
    #: The longest wait for one piece of an answer.
    timeout_seconds: float = Field(default=20, gt=0, le=25)
    #: How many calls of one company all workers together make in an hour.
    calls_per_hour: int = Field(default=1_000, ge=1)
    #: How many calls of one company all workers together make in a day (docs/kornitx.md 2.2).
    calls_per_day: int = Field(default=10_000, ge=1)
    #: The statuses by which the OMS says that goods have left (docs/kornitx.md 8.1).
    dispatched_statuses: frozenset[int] = DISPATCHED_STATUSES
    #: Error codes by which the OMS says that it has the order already.
    duplicate_codes: frozenset[int] = frozenset()
    #: Error codes by which the OMS says that a company made too many calls.
    rate_limit_codes: frozenset[int] = frozenset()
    #: A regular expression: an error text that it finds is a duplicate, as with `duplicate_codes`.
    duplicate_message_regex: Regex = "duplicate|already exist"
    #: A regular expression: an error text that it finds is a rate limit, as with `rate_limit_codes`.
    rate_limit_message_regex: Regex = "rate limit|too many|limit exceeded"
    #: How long a company's calls rest after a rate limit that names no time.
    rate_limit_pause_seconds: Seconds = 60
    #: After so many days without a report, an order that only the OMS knows is deleted. At least two days, because the
    #: OMS repeats a callback for ten hours, and the poller looks for such an order once a day.
    foreign_after_days: float = Field(default=30, ge=2, le=3_650)


class ShopOmsTable(Table):
    """The shop's account at KornitX, and how its orders are imported."""

    #: The company's number at KornitX.
    company_ref_id: int = Field(ge=1)
    #: The file that contains the company's key. It is read again when it changes.
    api_key_file: Path
    #: The file with the secret of the OMS's callbacks (PUT /oms/callbacks/SHOP): 16 characters or more, different for
    #: each shop, two lines while it is replaced. The OMS signs the body with it (HMAC-SHA256 in the header
    #: X-CustomGateway-Hmac), or sends it as `Authorization: Bearer SECRET`. Without it the shop takes no callbacks.
    callback_secret_file: Path | None = None
    #: Stands before Mirakl's order id in the OMS's `external_ref`. Two shops of one company need different
    #: ones, of which none begins with the other: an order id could belong to both.
    external_ref_prefix: str = ""
    #: Prefixes that the shop had before and under which the OMS still has orders; "" stands for none. Reports on these
    #: orders reach them, and an import that may have landed is repeated under its own prefix. The service does not
    #: start if the OMS has orders under a prefix that is not named.
    former_external_ref_prefixes: list[str] = Field(default_factory=list)
    #: Whether KornitX splits orders into parts. A status then covers the lines of its own part (docs/kornitx.md 9.4).
    may_split: bool = False
    #: Whether the company also has orders of other sales channels. If not, an order that the OMS reports on and that no
    #: read shows for `gone_after_hours` gets `unknown_to_mirakl`. Without this line: false if the shop has a prefix,
    #: else true.
    other_channels: bool | None = None
    #: The zone of the times without an offset that the company reports (docs/kornitx.md 8.3), such as "Europe/London".
    time_zone: TimeZone = "UTC"
    #: The OMS's shipping method for a shipping type of Mirakl: {STD = "RM1"}. A type that is not named goes out under
    #: Mirakl's code.
    shipping_methods: dict[str, str] = Field(default_factory=dict)
    #: The alpha-2 code for labels or codes of countries that no table knows: {"France (métropolitaine)" = "FR"}.
    countries: dict[str, Annotated[str, Field(pattern="^[A-Z]{2}$")]] = Field(default_factory=dict)
    #: The attribute for the code of a custom field of Mirakl: {"gift-text" = "Engraving"}. "" leaves the field out, and
    #: a code that is not named here goes out as ":Mirakl.CODE". A change at Mirakl gives the order its reason
    #: `changed_after_import` if the import of the order carried the field.
    custom_fields: dict[str, AttributeName] = Field(default_factory=dict)
    #: Codes of custom fields without which an order is not imported (`import_rejected`, which names the field), until
    #: Mirakl shows them.
    required_order_fields: frozenset[str] = frozenset()
    #: As `required_order_fields`, for custom fields of each line.
    required_line_fields: frozenset[str] = frozenset()
    #: Codes of the order's custom fields that name the pick-up point. shipping_pudo_id counts first, then the first of
    #: these fields that has a value; it becomes the attribute `:MiraklPickupPoint`.
    pickup_point_fields: list[str] = Field(default_factory=list)
    #: Whether the pick-up point also goes into the company line of the shipping address.
    pickup_point_as_company: bool = False


class DeadlinesTable(Table):
    """When an order that waits gets an attention reason. If a margin is longer than half of the time from the order's
    creation to its deadline, this half counts."""

    #: How long after its creation the seller has to decide about an order that names no `acceptance_deadline`.
    accept_within_hours: Annotated[Hours, Field(gt=0)] = 48
    #: How long before the deadline of the acceptance a missing decision gives `acceptance_due`.
    accept_margin_hours: Hours = 12
    #: A longer wait for the customer's money gives `payment_late`. It counts from the newest of: the creation, the
    #: acceptance that Mirakl shows, the newest read that did not show a debit.
    payment_within_hours: Annotated[Hours, Field(gt=0)] = 48
    #: An order gets `gone_from_mirakl` if two reads by id, this long apart or longer, do not show it, and no read in
    #: between does. An open order that no other read shows is read by its id once in this time.
    gone_after_hours: Annotated[Hours, Field(gt=0)] = 24
    #: How long before `shipping_deadline` a missing shipment gives `shipping_due`.
    shipping_margin_hours: Hours = 12


class ObjectivesTable(Table):
    """What the service promises for each order: orderflow_slo_total counts whether it was kept."""

    #: From the first read of an order until Mirakl takes its acceptance.
    accept_seconds: Annotated[Seconds, Field(gt=0)] = 3600
    #: From the OMS's report that everything has left until Mirakl takes OR24.
    ship_confirm_seconds: Annotated[Seconds, Field(gt=0)] = 900


class ShopTable(Table):
    """A seller's shop at one marketplace. Its name, NAME, is the label `shop` of metrics and logs."""

    #: The host name of the marketplace, without `https://`.
    hostname: Host | None = None
    #: The address of a simulator, in place of `hostname`. `http://` is for this machine alone.
    base_url: WebAddress | None = None
    #: The shop's number at Mirakl.
    shop_id: int = Field(ge=1)
    #: The file that contains the shop's key at Mirakl. It is read again when it changes.
    api_key_file: Path
    #: Whether calls that change something are made. Without it: as `orderflow shops` last set it; off for a new shop.
    effects: Literal["on", "off"] | None = None
    #: The currency of the shop's account, such as "GBP". Without it, `shops check` takes any.
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] | None = None
    #: When the shop's customers pay, in Mirakl's words. `shops check` compares them with what the marketplace offers
    #: (PC01) and with the shop's newest orders. Without it, any.
    payment_workflows: frozenset[PaymentWorkflow] = frozenset()
    #: How often the shop's orders are listed. 60 or more, because Mirakl allows one listing a minute.
    poll_interval_seconds: Seconds = 60
    #: How far an update window reaches back into the window before it, because Mirakl's replicas may lag.
    poll_overlap_seconds: Seconds = 300
    #: `all`: accept every order. `hold`: a person decides. `known-skus`: accept orders whose SKUs are all in
    #: `known_skus_file`.
    acceptance: Literal["all", "hold", "known-skus"] = "all"
    #: The file that names one SKU a line. It is read at the start.
    known_skus_file: Path | None = None
    #: With `known-skus`: what happens to lines whose SKU the file does not name. `hold`: a person decides about the
    #: order; `refuse`: OR21 refuses these lines and accepts the others.
    unknown_skus: Literal["hold", "refuse"] = "hold"
    #: Orders created before this instant are not touched. An order goes on if orderflow made a call of it already, or a
    #: person said so (`orders handled`), or if the OMS has it and orderflow read it as ready for an import before this
    #: instant.
    not_before: datetime = EPOCH
    #: Codes of the fulfilment centres from which the shop ships. An order without a centre is the shop's too. An order
    #: of any other centre is not imported (`not_ours_to_ship`).
    fulfilment_centres: frozenset[str] = frozenset({"DEFAULT"})
    #: An order gets the reason `retrying` if its call fails for this time, or for half of the time to its deadline if
    #: that is shorter. If the customer's messages (M11) cannot be read, it gets the reason at once.
    retrying_after_seconds: Seconds = 600
    #: How long an import waits for messages of the customer that cannot be read (M11). After that, `without_messages`
    #: counts: `import` sends the order without them; `hold` waits until they can be read, or a person releases it.
    messages_wait_seconds: Seconds = 3600
    #: What becomes of an import whose messages still cannot be read after `messages_wait_seconds`.
    without_messages: Literal["import", "hold"] = "hold"
    #: How long a tracking that cannot be sent (OR23) holds the shipment (OR24). OR24 goes out 30 minutes before the
    #: shipping deadline at the latest.
    tracking_holds_for_seconds: Seconds = 3600
    #: Whether Mirakl is asked for gross or for net amounts. An order that comes in the other mode is imported in that
    #: mode, and each process logs `tax_mode_differs` for the first such order of the shop.
    order_tax_mode: Literal["TAX_INCLUDED", "TAX_EXCLUDED"] = "TAX_INCLUDED"
    #: Mirakl's name for a carrier of the OMS: code, label or standard code of a carrier that the marketplace knows
    #: (SH21), or free text: {DPD = "DPD UK"}. `shops check` compares it with SH21.
    carriers: dict[str, Annotated[str, Field(min_length=1)]] = Field(default_factory=dict)
    #: The carrier's name if the OMS reports none. A carrier of this name, or named `Other`, that the marketplace knows
    #: gets the tracking URL.
    other_carrier: str = "Other"
    #: The longest wait for one piece of an answer of Mirakl.
    timeout_seconds: float = Field(default=20, gt=0, le=25)
    deadlines: DeadlinesTable = DeadlinesTable()
    objectives: ObjectivesTable = ObjectivesTable()
    oms: ShopOmsTable

    @model_validator(mode="after")
    def _consistent(self) -> "ShopTable":
        if self.hostname is None and self.base_url is None:
            raise ValueError("needs a hostname (or, for a simulator, a base_url)")
        if self.hostname is not None and self.base_url is not None:
            raise ValueError("has a hostname and a base_url: only one of them can be called")
        # `Settings` refuses every other address that others can read.
        is_simulator = is_readable_by_others(self.endpoint) or is_loopback(self.endpoint)
        if self.poll_interval_seconds < SHORTEST_POLL_SECONDS and not is_simulator:
            raise ValueError(
                "poll_interval_seconds has to be 60 or more: Mirakl allows one listing a minute (OR11). "
                "Shorter intervals are for simulators, with a base_url at 127.0.0.1"
            )
        if self.acceptance == "known-skus" and self.known_skus_file is None:
            raise ValueError("acceptance = known-skus needs known_skus_file, one SKU a line")
        return self

    @property
    def endpoint(self) -> str:
        return self.base_url or f"https://{self.hostname}"

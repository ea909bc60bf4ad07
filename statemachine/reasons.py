"""Why a person should look at an order: a row for each reason, with its meaning, its cure, what it holds, what ends it.

docs/attention.md is made from the table. attention.py has the rules by which an order has a reason.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from statemachine.commands import CommandKind
from statemachine.urgency import About, EndsBy, Urgency


class Reason(StrEnum):
    """Why a person should look at an order."""

    QUARANTINED = "quarantined"
    NO_EDGE = "no_edge"
    UNKNOWN_STATE = "unknown_state"
    NEEDS_DECISION = "needs_decision"
    NOTHING_TO_ACCEPT = "nothing_to_accept"
    ADDRESS_MISSING = "address_missing"
    NOTHING_TO_IMPORT = "nothing_to_import"
    ACCEPT_REJECTED = "accept_rejected"
    REFUSAL_NOT_APPLIED = "refusal_not_applied"
    IMPORT_REJECTED = "import_rejected"
    ALREADY_IN_OMS = "already_in_oms"
    TRACKING_REJECTED = "tracking_rejected"
    SHIPMENT_REJECTED = "shipment_rejected"
    GAVE_UP = "gave_up"
    NOT_APPLIED = "not_applied"
    OMS_CANCELED = "oms_canceled"
    CANCELED_AFTER_IMPORT = "canceled_after_import"
    CANCELED_AFTER_DISPATCH = "canceled_after_dispatch"
    DEAD_IN_MIRAKL = "dead_in_mirakl"
    LINES_CANCELED_AFTER_IMPORT = "lines_canceled_after_import"
    LINES_ADDED_AFTER_IMPORT = "lines_added_after_import"
    CHANGED_AFTER_IMPORT = "changed_after_import"
    MESSAGE_AFTER_IMPORT = "message_after_import"
    ATTACHMENT = "attachment"
    MESSAGES_NOT_FOUND = "messages_not_found"
    MESSAGES_NOT_READ = "messages_not_read"
    LINES_NOT_IMPORTED = "lines_not_imported"
    PARTLY_SENT = "partly_sent"
    SENT_BEFORE_SHIPPING = "sent_before_shipping"
    PAYMENT_AWAITED_AGAIN = "payment_awaited_again"
    QUANTITY_EXCEEDS_ORDER = "quantity_exceeds_order"
    FOREIGN_TRACKING = "foreign_tracking"
    HELD_IN_OMS = "held_in_oms"
    OMS_QUERY = "oms_query"
    OMS_ON_HOLD = "oms_on_hold"
    REPORT_UNREADABLE = "report_unreadable"
    LINE_INCIDENT = "line_incident"
    HELD = "held"
    NOT_OURS_TO_SHIP = "not_ours_to_ship"
    SHIPPED_ELSEWHERE = "shipped_elsewhere"
    GO_ON_IN_OMS = "go_on_in_oms"
    PARTLY_WITHDRAWN = "partly_withdrawn"
    QUANTITY_MISSING = "quantity_missing"
    UNKNOWN_LINE_STATE = "unknown_line_state"
    SHIPPED_BEFORE = "shipped_before"
    LINE_SHIPPED_BEFORE = "line_shipped_before"
    WITHDRAWN_AFTER_IMPORT = "withdrawn_after_import"
    GONE_FROM_MIRAKL = "gone_from_mirakl"
    UNKNOWN_TO_MIRAKL = "unknown_to_mirakl"
    ACCEPTANCE_DUE = "acceptance_due"
    PAYMENT_LATE = "payment_late"
    RETRYING = "retrying"
    SHIPPING_DUE = "shipping_due"


_EVERY: Final = frozenset(CommandKind)
_IMPORT: Final = frozenset({CommandKind.IMPORT})
_SHIP: Final = frozenset({CommandKind.TRACK, CommandKind.CONFIRM})

#: One row for each reason, in the order of docs/attention.md.
REASONS: Final[Mapping[Reason, About]] = {
    Reason.QUARANTINED: About(
        "this version cannot read or plan the order",
        "Nothing of it is applied or called; every other order goes on. Report it with the log line "
        "`order_quarantined`. The workers of a version that can read it plan it again when they start; "
        "`orders replan ORDER` does it at once. Then replay its dead letters (reason `quarantined`).",
        holds=_EVERY,
        ends_by=EndsBy.UPGRADE,
        detail="the kind of the error",
    ),
    Reason.NO_EDGE: About(
        "the facts amount to a state to which no row of the table leads",
        "No call is made. Report it with `orders show ORDER --json`; after an upgrade that has the row, the order's "
        "next event moves it.",
        holds=_EVERY,
        ends_by=EndsBy.UPGRADE,
    ),
    Reason.UNKNOWN_STATE: About(
        "Mirakl shows a state that this version does not know",
        "Look at the order in Mirakl's portal. It goes on by itself at the next state that we know; upgrade orderflow "
        "if Mirakl has a new one.",
        holds=_EVERY,
        ends_by=EndsBy.FACT,
        cure_when_sent=(
            "Nothing of it is reported to Mirakl until a read shows a state that this version knows. Look at the order "
            "in Mirakl's portal: if it waits for the shipment there, mark it shipped; if it is canceled, stop the "
            "parcel or arrange its return. Upgrade orderflow if Mirakl has a new state."
        ),
    ),
    Reason.NEEDS_DECISION: About(
        "a person has to decide whether the order is accepted",
        "Decide: `orders accept ORDER --reason WHY` or `orders refuse ORDER --reason WHY`, or in Mirakl's portal, "
        "before its deadline.",
        ends_by=EndsBy.FACT,
    ),
    Reason.NOTHING_TO_ACCEPT: About(
        "Mirakl waits for a decision on an order that it shows without lines",
        "Look at the order in Mirakl's portal. OR21 has to name its lines. Every poll reads the order again.",
        ends_by=EndsBy.FACT,
        urgency=Urgency.WAITS,
    ),
    Reason.ADDRESS_MISSING: About(
        "Mirakl shows SHIPPING without an address; the order is read again",
        "Wait for the next read. If the reason stays, ask the marketplace's operator for the address.",
        ends_by=EndsBy.FACT,
        urgency=Urgency.WAITS,
    ),
    Reason.NOTHING_TO_IMPORT: About(
        "Mirakl shows SHIPPING without any open line",
        "Look at its lines in Mirakl's portal. If really no line is to be sent, ask the operator to cancel the order. "
        "The reason clears when Mirakl no longer shows SHIPPING, or shows a line to send.",
        ends_by=EndsBy.FACT,
        urgency=Urgency.WAITS,
    ),
    Reason.ACCEPT_REJECTED: About(
        "Mirakl refused the acceptance and still waits for it",
        "`orders show ORDER --received` has Mirakl's words. Decide in Mirakl's portal, or mend the cause and "
        "`orders retry ORDER --reason WHY`. If the portal has the answer, `orders handled ORDER --reason WHY`.",
        ends_by=EndsBy.RETRY,
    ),
    Reason.REFUSAL_NOT_APPLIED: About(
        "a person refused the order or some of its lines, and Mirakl shows them accepted: another answer came first",
        "Cancel or refund what you cannot send in Mirakl's portal. Then `orders release ORDER --reason WHY` imports "
        "what is left. If you can send it after all, the same command imports it.",
        holds=_IMPORT,
        ends_by=EndsBy.RELEASE,
    ),
    Reason.IMPORT_REJECTED: About(
        "the order cannot be imported as it is, or the OMS refused it",
        "Mend what the OMS names (`orders show ORDER --received` has its words); if it names nothing, ask its support. "
        "Look in the OMS for the external_ref that `orders explain ORDER` shows. If it is there, or a person keys it "
        "in, `orders handled ORDER --reason WHY`. Else `orders retry ORDER --reason WHY`; a change causes a new try.",
        ends_by=EndsBy.RETRY,
    ),
    Reason.ALREADY_IN_OMS: About(
        "the OMS says that it holds this order already, and what it holds may differ from our last import",
        "Find its external_ref in the OMS. If it is this order, `orders settle ORDER --reason WHY` counts it as "
        "imported; if it is another order, give the shop an external_ref_prefix and `orders retry ORDER --reason WHY`.",
        ends_by=EndsBy.RETRY,
    ),
    Reason.TRACKING_REJECTED: About(
        "Mirakl refused the tracking",
        "`orders show ORDER --received` has Mirakl's words. Correct the tracking in the OMS, which sends it again, or "
        "enter it in Mirakl's portal. `orders retry ORDER --reason WHY` asks once more, "
        "`orders handled ORDER --reason WHY` says that it is there.",
        ends_by=EndsBy.RETRY,
    ),
    Reason.SHIPMENT_REJECTED: About(
        "Mirakl refused to mark the order shipped with the tracking that it holds now",
        "`orders show ORDER --received` has Mirakl's words. Let the OMS report a tracking that Mirakl takes, or mark "
        "it shipped in the portal; `orders retry ORDER --reason WHY` asks once more, `orders handled ORDER --reason "
        "WHY` says that it is there. `orders sent ORDER --carrier NAME --tracking NUMBER --reason WHY` adds a number.",
        ends_by=EndsBy.RETRY,
    ),
    Reason.GAVE_UP: About(
        "a call was retried until its deadline",
        "`orders show ORDER --received` has the words of the last error. When the remote works again, `orders retry "
        "ORDER --reason WHY`. If a person did it by hand, `orders handled ORDER --reason WHY`.",
        ends_by=EndsBy.RETRY,
    ),
    Reason.NOT_APPLIED: About(
        "Mirakl said yes several times and never did it",
        "Look in Mirakl's portal whether it was done; if not, ask the operator, then "
        "`orders retry ORDER --reason WHY`; if it was done, `orders handled ORDER --reason WHY`.",
        ends_by=EndsBy.RETRY,
    ),
    Reason.OMS_CANCELED: About(
        "the OMS canceled the order or a line; no call is made until a person settles this reason",
        "Agree with the people of the OMS: cancel or refund it in Mirakl's portal, or have it made again. "
        "`orders settle ORDER --reason WHY` lets its calls go on: then the order is reported shipped as soon as the "
        "rest has left. So if a line is made again, settle when it has left.",
        holds=_EVERY,
        urgency=Urgency.NOW,
    ),
    Reason.CANCELED_AFTER_IMPORT: About(
        "Mirakl canceled an order that the OMS has, or may have",
        "Cancel it in the OMS before it is made; it clears when the OMS reports that, or by "
        "`orders settle ORDER --reason WHY`.",
        urgency=Urgency.NOW,
        detail="the OMS's ids of what is not sent yet",
    ),
    Reason.CANCELED_AFTER_DISPATCH: About(
        "Mirakl canceled or refused an order whose goods have left",
        "Stop the parcel or arrange its return, clear the money with the operator, then "
        "`orders settle ORDER --reason WHY`.",
        urgency=Urgency.NOW,
    ),
    Reason.DEAD_IN_MIRAKL: About(
        "Mirakl refused an order that the OMS has, or may have",
        "Cancel it in the OMS before it is made; it clears when the OMS reports that, or by "
        "`orders settle ORDER --reason WHY`.",
        urgency=Urgency.NOW,
        detail="the OMS's ids of what is not sent yet",
    ),
    Reason.LINES_CANCELED_AFTER_IMPORT: About(
        "Mirakl canceled or refunded lines, or pieces of them, that the OMS has or may have",
        "Take them out in the OMS before they are made, then `orders settle ORDER --reason WHY`.",
        urgency=Urgency.NOW,
        urgency_when_stopped=Urgency.BY_DEADLINE,
        cure_when_sent=(
            "Stop the parcel or arrange its return, clear the money with the operator, then `orders settle ORDER "
            "--reason WHY`."
        ),
    ),
    Reason.LINES_ADDED_AFTER_IMPORT: About(
        "Mirakl shows lines, or pieces of them, to send that the OMS does not have",
        "Have the OMS make them too, then `orders settle ORDER --reason WHY`. They count as sent when parcels hold "
        "them, or by `orders sent ORDER --reason WHY`.",
    ),
    Reason.CHANGED_AFTER_IMPORT: About(
        "what the OMS got differs from what Mirakl shows now: the fields are named",
        "Compare both, correct the order in the OMS before it is made, then `orders settle ORDER --only "
        "changed_after_import --reason WHY`.",
        urgency=Urgency.NOW,
        cure_when_sent=(
            "Compare both. The carrier may still change an address; else write to the customer in Mirakl's "
            "portal. Then `orders settle ORDER --reason WHY`."
        ),
    ),
    Reason.MESSAGE_AFTER_IMPORT: About(
        "the customer wrote after the import, so the OMS does not have the message",
        "Read the message with `orders messages ORDER` or in Mirakl's portal, tell the OMS what it asks for, then "
        "`orders settle ORDER --only message_after_import --reason WHY`.",
        urgency=Urgency.NOW,
        cure_when_sent=(
            "See `orders messages ORDER`, answer it in Mirakl's portal, then `orders settle ORDER --reason WHY`."
        ),
    ),
    Reason.ATTACHMENT: About(
        "a message of the customer has a file, a picture or a part that cannot be read, and the OMS does not have it",
        "Take the file from the messages in Mirakl's portal, give it to the OMS before the goods are made, then "
        "`orders settle ORDER --only attachment --reason WHY`.",
        urgency=Urgency.NOW,
        cure_when_sent=(
            "Compare the file in Mirakl's portal with what was made, and write to the customer if it was needed. "
            "Then `orders settle ORDER --reason WHY`."
        ),
    ),
    Reason.MESSAGES_NOT_FOUND: About(
        "Mirakl says that the customer wrote, and the OMS has no message: Mirakl shows none, or refuses to show them",
        "Look for the message in Mirakl's portal and tell the OMS what it asks for, then `orders settle ORDER --only "
        "messages_not_found --reason WHY`.",
        cure_when_sent=(
            "Look for the message in Mirakl's portal and answer it there, then `orders settle ORDER --reason WHY`."
        ),
    ),
    Reason.LINES_NOT_IMPORTED: About(
        "the OMS's answer to the import shows other lines or pieces than were sent",
        "Look at the order in the OMS and have it corrected there, then `orders settle ORDER --reason WHY`. A line "
        "that it does not have is sent when parcels hold it, or by `orders sent ORDER --reason WHY`.",
        cure_when_sent=(
            "Nobody has to make them any more: do not have the order corrected in the OMS, and stop there what it "
            "would still make. Then `orders settle ORDER --reason WHY`."
        ),
        urgency_in_oms=Urgency.NOW,
        urgent_if="the OMS makes or sent more than the import handed over, or a person said that the goods left and "
        "the OMS did not report that it sent or canceled them",
    ),
    Reason.MESSAGES_NOT_READ: About(
        "the customer wrote, and the messages could not be read for long; the import waits, and the messages are "
        "read again from time to time",
        "Read them in Mirakl's portal; `orders release ORDER --reason WHY` imports the order at once, without the "
        "messages if they still cannot be read. Or, if Mirakl refuses to show them, give the key the right to M11: "
        "the order is imported when its messages can be read.",
        ends_by=EndsBy.RELEASE,
    ),
    Reason.PARTLY_SENT: About(
        "some of the order has left, the rest has not",
        "Ask the OMS when the rest leaves; if it does not have the order, enter the rest there. Mirakl is notified "
        "when all is sent. The reason clears then, or when Mirakl has canceled or refunded every line that is left. If "
        "the rest left and the OMS does not say so, `orders sent ORDER --reason WHY`.",
        ends_by=EndsBy.SENT,
    ),
    Reason.SENT_BEFORE_SHIPPING: About(
        "the goods left before Mirakl allowed it",
        "Find out why the OMS sent it. Mirakl is notified as soon as it shows SHIPPING; if it still waits, see that it "
        "is accepted.",
        ends_by=EndsBy.FACT,
        urgency=Urgency.WAITS,
        urgency_in_oms=Urgency.NOW,
        urgent_if="Mirakl showed SHIPPING before, and waits for the customer's money again",
    ),
    Reason.PAYMENT_AWAITED_AGAIN: About(
        "the OMS has the order, or may have it, and Mirakl waits for the customer's money",
        "Hold it in the OMS until Mirakl shows that the customer has paid; ask the operator why. It clears when Mirakl "
        "shows SHIPPING. When the OMS has it on hold, `orders settle ORDER --only payment_awaited_again --reason WHY` "
        "ends it before.",
        urgency=Urgency.NOW,
    ),
    Reason.QUANTITY_EXCEEDS_ORDER: About(
        "the OMS sent more of a line than was ordered, or perhaps sent or makes one piece in two of its orders",
        "Ask the OMS what really left, then `orders settle ORDER --reason WHY`.",
        urgency_in_oms=Urgency.NOW,
        urgent_if="the OMS got these pieces, and Mirakl took them back, or the OMS has more orders than pieces",
    ),
    Reason.FOREIGN_TRACKING: About(
        "Mirakl shows a tracking that is not ours, and orderflow does not replace it",
        "Find out who entered Mirakl's number: perhaps two parcels left, one under each number. If so, stop the second "
        "or arrange its return. If one left and Mirakl's number is wrong, correct it in the portal: the next read ends "
        "this. In the other cases `orders settle ORDER --reason WHY`. The reason stays until then.",
        urgency_in_oms=Urgency.NOW,
        urgent_if="somebody else than orderflow reported the shipment",
    ),
    Reason.HELD_IN_OMS: About(
        "the OMS stored the order and holds it for an error",
        "Clear the order's error in the OMS; it clears here when the OMS sends it, or by "
        "`orders settle ORDER --reason WHY`.",
    ),
    Reason.OMS_QUERY: About(
        "the OMS has a question about the order (status 32), and waits for the answer",
        "Answer the question in the OMS, or cancel the order there if nobody wants it any more. It clears when the OMS "
        "reports another status.",
        ends_by=EndsBy.FACT,
    ),
    Reason.OMS_ON_HOLD: About(
        "the OMS holds the order (status 256)",
        "Look in the OMS why it is on hold, and let it go there, or cancel it there if nobody wants it any more. It "
        "clears when the OMS reports another status.",
        ends_by=EndsBy.FACT,
    ),
    Reason.REPORT_UNREADABLE: About(
        "a report of the OMS on this order could not be read, or not all of it",
        "Compare the order with the OMS, or have it report again, then `orders settle ORDER --reason WHY`. If nothing "
        "of the report could be read, it is among the dead letters (`orderflow dead-letters list`).",
    ),
    Reason.LINE_INCIDENT: About(
        "Mirakl shows an incident on a line: a customer complained, and the line is not sent any more",
        "Solve it in Mirakl's portal. If the OMS has the line, stop it there. If other lines are sent, OR24 then "
        "reports the whole order shipped, this line too: so have it refunded before, unless it is to be sent after "
        "all. Then `orders settle ORDER --reason WHY`.",
        urgency_in_oms=Urgency.NOW,
        cure_when_sent=(
            "Solve the incident in Mirakl's portal. Stop the parcel or arrange its return, unless the customer is to "
            "get the line. Then `orders settle ORDER --reason WHY`."
        ),
    ),
    Reason.HELD: About(
        "a person holds this order",
        "When its cause is gone, `orders release ORDER --reason WHY` lets its calls go on.",
        holds=_EVERY,
        ends_by=EndsBy.RELEASE,
    ),
    Reason.NOT_OURS_TO_SHIP: About(
        "somebody else ships this order: `can_shop_ship` is false, or the fulfilment centre is not ours",
        "Look at the fulfilment centre in Mirakl's portal. If the OMS has the order, stop it there. It goes on when a "
        "read shows that the shop ships it.",
        # OR21 is not held: Mirakl refuses the answer if the centre is not ours, and a missed answer loses the sale.
        holds=_IMPORT | _SHIP,
        ends_by=EndsBy.FACT,
        urgency=Urgency.WAITS,
        urgency_in_oms=Urgency.NOW,
        cure_when_sent=(
            "Stop the parcel or arrange its return, and tell the operator. Nothing is reported to Mirakl until a "
            "read shows that the shop ships the order."
        ),
    ),
    Reason.SHIPPED_ELSEWHERE: About(
        "Mirakl shows the order or lines shipped, or debits a shipment, and not by us, or a person said that the goods "
        "left; and the OMS has them, reported since that it sent them too, or canceled what Mirakl took back",
        "Find out first who said that these goods left. If a colleague meant the OMS's own goods, let the OMS go on "
        "and settle. Else stop in the OMS what has not left; if two parcels left, stop the second or arrange its "
        "return. Then `orders settle ORDER --only shipped_elsewhere --reason WHY`. The reason stays until then, also "
        "if the OMS sends the goods.",
        urgency=Urgency.NOW,
        detail="by whom, or which lines if not all",
    ),
    Reason.GO_ON_IN_OMS: About(
        "the order was not to be sent for some time, and is now",
        "If somebody stopped it in the OMS, let it go on there. Then `orders settle ORDER --reason WHY`. The reason "
        "clears when more of the order leaves.",
        detail="why it was not to be sent, and until when at least",
    ),
    Reason.PARTLY_WITHDRAWN: About(
        "a part of a line is canceled or refunded, and Mirakl does not say reliably how much is left",
        "Agree with the operator what is still to be sent. If that is what Mirakl shows, `orders release ORDER "
        "--reason WHY` imports the order so. If it is another number, do not release it: ask the operator to cancel "
        "the rest, so that Mirakl shows the number. Or key the order in by hand with the right number, under the "
        "external_ref that `orders explain ORDER` shows, then `orders handled ORDER --call import_order --reason WHY`; "
        "when all of that has left, `orders sent ORDER --reason WHY`.",
        holds=_IMPORT,
        ends_by=EndsBy.RELEASE,
    ),
    Reason.QUANTITY_MISSING: About(
        "Mirakl shows a line without a quantity",
        "Look at the line in Mirakl's portal, and ask the operator. It clears when a read shows the quantity; an "
        "import waits for that.",
        holds=_IMPORT,
        ends_by=EndsBy.FACT,
        urgency=Urgency.WAITS,
    ),
    Reason.UNKNOWN_LINE_STATE: About(
        "Mirakl shows a line in a state that this version does not know",
        "Look at the line in Mirakl's portal. Before the import, `orders release ORDER --reason WHY` imports it. If "
        "the OMS has the order, stop the line there or have it made; the same command then marks it as seen.",
        holds=_IMPORT,
        ends_by=EndsBy.RELEASE,
    ),
    Reason.SHIPPED_BEFORE: About(
        "an earlier read showed this order shipped, and the newest shows SHIPPING",
        "Find out whether the goods left, and who put the order back. If they left and nothing more is to be sent, "
        "mark it shipped in Mirakl's portal. Else `orders release ORDER --reason WHY`. It imports an order that the "
        "OMS does not have. One that the OMS sent it marks shipped in Mirakl again: if the customer gets goods again, "
        "have them made in the OMS first.",
        holds=_IMPORT | _SHIP,
        ends_by=EndsBy.RELEASE,
    ),
    Reason.LINE_SHIPPED_BEFORE: About(
        "Mirakl shows a line to send that has a shipped_date already, and the OMS does not have it",
        "Find out whether these goods left. If they did not, `orders release ORDER --reason WHY` imports the order as "
        "Mirakl shows it. If they did, mark the line shipped in Mirakl's portal: the lines that are left are imported "
        "when a read shows that.",
        holds=_IMPORT,
        ends_by=EndsBy.RELEASE,
    ),
    Reason.WITHDRAWN_AFTER_IMPORT: About(
        "no line of the order is to be sent any more, and the OMS has the order, or goods of it have left",
        "Stop it in the OMS before it is made, and ask the operator to cancel the order. Nothing is reported to Mirakl "
        "until `orders settle ORDER --reason WHY`.",
        holds=_SHIP,
        urgency=Urgency.NOW,
        urgency_when_stopped=Urgency.BY_DEADLINE,
        cure_when_sent=(
            "Stop the parcel or arrange its return, and clear the money with the operator. `orders settle ORDER "
            "--reason WHY` then reports the shipment to Mirakl."
        ),
    ),
    Reason.GONE_FROM_MIRAKL: About(
        "reads by the order's id have not shown the order for the configured time (`gone_after_hours`)",
        "Look for the order in Mirakl's portal, and ask the operator. If it is gone, stop it in the OMS, then "
        "`orders settle ORDER --reason WHY`. It clears when a read shows the order.",
        holds=_EVERY,
        urgency=Urgency.NOW,
        urgency_when_stopped=Urgency.BY_DEADLINE,
        cure_when_sent=(
            "Look for the order in Mirakl's portal. If it is gone, stop the parcel or arrange its return, and ask the "
            "operator who pays for the goods. Then `orders settle ORDER --reason WHY`."
        ),
    ),
    Reason.UNKNOWN_TO_MIRAKL: About(
        "the OMS reported on the order longer ago than `gone_after_hours`, and no read has shown it at Mirakl",
        "Look for the order in the OMS. If it is of another sales channel, `orders settle ORDER --reason WHY`; the "
        "setting `other_channels = true` ends the reason for all such orders. If its external_ref is wrong, correct "
        "it there, so that its next report reaches the right order; if its goods have left, make the decision `sent` "
        "about the right order too, which still waits for them. Only then settle this one. It clears when a read "
        "shows the order.",
    ),
    Reason.ACCEPTANCE_DUE: About(
        "Mirakl waits for the seller's decision until the time shown, and that is near or over",
        "Decide: `orders accept ORDER --reason WHY` or `orders refuse ORDER --reason WHY`, or in Mirakl's portal. "
        "`orders explain ORDER` says what the answer waits for. Mirakl refuses the order by itself after the deadline.",
        ends_by=EndsBy.FACT,
    ),
    Reason.PAYMENT_LATE: About(
        "Mirakl has waited for the customer's money longer than usual: since before the time shown",
        "Do not make the goods before the customer has paid, but where Mirakl debits after a shipment "
        "(PAY_ON_SHIPMENT). No call of ours hastens the payment: ask the marketplace's operator if it stays so.",
        ends_by=EndsBy.FACT,
        urgency=Urgency.WAITS,
        cure_when_sent=(
            "The customer has not paid for them yet, and no call of ours hastens that: ask the marketplace's operator."
        ),
    ),
    Reason.RETRYING: About(
        "a call keeps failing and is tried again",
        "Look at the remote, and at its words in `orders show ORDER --received`. It clears when the call succeeds; "
        "`orders retry ORDER --reason WHY` tries at once. If a person did it by hand, `orders handled ORDER --reason "
        "WHY`. An order whose tracking cannot be sent is marked shipped without it after a while.",
        ends_by=EndsBy.FACT,
        detail="the operation and the remote's code (`resting`: the call is not made, because its operation fails for "
        "other orders)",
    ),
    Reason.SHIPPING_DUE: About(
        "the shipment is due at the time shown, and that is near or over. It is Mirakl's deadline or, without one, 14 "
        "days after the order",
        "Ask the OMS when the order leaves, or look at what else the order waits for. It clears when Mirakl shows the "
        "order shipped.",
        ends_by=EndsBy.FACT,
        cure_when_sent=(
            "Mirakl does not show the shipment. `orders explain ORDER` says what the report to Mirakl waits for. "
            "Or mark the order shipped in Mirakl's portal."
        ),
    ),
}

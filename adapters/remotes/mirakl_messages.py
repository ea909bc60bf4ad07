"""What the customer wrote about an order, from the threads of M11 (docs/mirakl.md 5.10)."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Final

from pydantic import Field, OnErrorOmit

from adapters.messages.fields import Instant, Loose, Message, Text
from adapters.ports import CustomerMessages
from adapters.remotes.mirakl_text import plain_text
from statemachine.facts import EPOCH

_FREE_TEXT: Final = "FREE_TEXT"


class _Sender(Message):
    type: Text = ""


class _Topic(Message):
    type: Text = ""
    value: Annotated[str, Loose("")] = ""


class _ThreadMessage(Message):
    id: Text = ""
    body: Annotated[str, Loose("")] = ""
    date_created: Instant = None
    sender: Annotated[_Sender, Loose(_Sender()), Field(alias="from")] = _Sender()
    attachments: Annotated[tuple[object, ...], Loose(())] = ()


class Thread(Message):
    """One conversation. If M11 changes between two pages, a thread can be on both."""

    id: Text = ""
    topic: Annotated[_Topic, Loose(_Topic())] = _Topic()
    messages: Annotated[tuple[OnErrorOmit[_ThreadMessage], ...], Loose(())] = ()


class Threads(Message):
    """One page that M11 answers: threads, each with its messages."""

    data: tuple[OnErrorOmit[Thread], ...]
    next_page_token: Annotated[str, Loose("")] = ""


def written_by_customer(threads: Iterable[Thread]) -> CustomerMessages:
    """The customer's messages in these threads, oldest first, as plain text. Each message and each topic counts once.

    The topic of a free-text thread is in the customer's words. It comes before the thread's first message.
    """
    found: dict[str, tuple[Thread, _ThreadMessage]] = {}
    for thread in threads:
        for message in thread.messages:
            if message.sender.type == "CUSTOMER_USER":
                found.setdefault(message.id or f"#{len(found)}", (thread, message))
    written: list[tuple[str, datetime | None]] = []
    named: set[tuple[str, str]] = set()
    oldest_first = sorted(found.values(), key=lambda one: one[1].date_created or EPOCH)
    for thread, message in oldest_first:
        topic = plain_text(thread.topic.value) if thread.topic.type == _FREE_TEXT else ""
        if (thread.id, topic) not in named:
            named.add((thread.id, topic))
            written.append((topic, message.date_created))
        written.append((plain_text(message.body), message.date_created))
    attached = any(message.attachments for _, message in oldest_first)
    shown = [one for one in written if one[0]]
    return CustomerMessages(tuple(text for text, _ in shown), tuple(at for _, at in shown), attached)

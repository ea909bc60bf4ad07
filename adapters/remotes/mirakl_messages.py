"""What the customer wrote about an order, from the threads of M11 (docs/mirakl.md 5.10)."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Final

from pydantic import BeforeValidator, Field

from adapters.messages.fields import Instant, Loose, Message, Text
from adapters.ports import CustomerMessages
from adapters.remotes.mirakl_text import has_picture, plain_text
from statemachine.facts import EPOCH

_FREE_TEXT: Final = "FREE_TEXT"
_CUSTOMER: Final = "CUSTOMER_USER"


class _Sender(Message):
    type: Text = ""


class _Topic(Message):
    type: Text = ""
    value: Annotated[str, Loose("")] = ""


def _text_or_none(value: object) -> object:
    return "" if value is None else value


class _ThreadMessage(Message):
    id: Text = ""
    #: None: not a text.
    body: Annotated[str | None, Loose(None), BeforeValidator(_text_or_none)] = ""
    date_created: Instant = None
    sender: Annotated[_Sender, Loose(_Sender()), Field(alias="from")] = _Sender()
    #: None: not a list, so perhaps a file.
    attachments: Annotated[tuple[object, ...] | None, Loose(None), BeforeValidator(lambda value: value or ())] = ()

    @property
    def is_unread(self) -> bool:
        """Whether the customer may have written something that cannot be read: it is no text, or has no sender."""
        return self.body is None or (not self.sender.type and bool(self.body or self.attachments))


#: Stands for a message that is not an object.
_UNREAD: Final = _ThreadMessage.model_construct(body=None)


def _messages(value: object) -> object:
    """The messages of a thread, in a list. Each that is not an object, and a value that is not a list, is _UNREAD."""
    if not isinstance(value, list):
        return [_UNREAD] if value else []
    return [one if isinstance(one, dict) else _UNREAD for one in value if one is not None]


class Thread(Message):
    """One conversation. If M11 changes between two pages, a thread can be on both."""

    id: Text = ""
    topic: Annotated[_Topic, Loose(_Topic())] = _Topic()
    messages: Annotated[tuple[_ThreadMessage, ...], BeforeValidator(_messages)] = ()


def _threads(value: object) -> object:
    """The threads of a page. One that is not an object holds one message that cannot be read."""
    if not isinstance(value, list):
        return value
    return [one if isinstance(one, dict) else {"messages": [one]} for one in value if one is not None]


class Threads(Message):
    """One page that M11 answers: threads, each with its messages."""

    data: Annotated[tuple[Thread, ...], BeforeValidator(_threads)]
    next_page_token: Annotated[str, Loose("")] = ""


def written_by_customer(threads: Iterable[Thread]) -> CustomerMessages:
    """The customer's messages in these threads, oldest first, as plain text. Each message and each topic counts once.

    The topic of a free-text thread is in the customer's words. It comes before the thread's first message. What cannot
    be read beside other messages counts as a file: a person has to look for it in Mirakl's portal. If no message can be
    read at all, there are no texts, and the caller waits for them.
    """
    found: dict[tuple[str, str, str], tuple[Thread, _ThreadMessage]] = {}
    unread = False
    for thread in threads:
        for message in thread.messages:
            unread = unread or (message.is_unread and message.sender.type in ("", _CUSTOMER))
            if message.sender.type == _CUSTOMER:  # another text under the same id is another message
                key = (thread.id, message.id or f"#{len(found)}", message.body or "")
                found.setdefault(key, (thread, message))
    written: list[tuple[str, datetime | None]] = []
    named: set[tuple[str, str]] = set()
    oldest_first = sorted(found.values(), key=lambda one: one[1].date_created or EPOCH)
    for thread, message in oldest_first:
        topic = plain_text(thread.topic.value) if thread.topic.type == _FREE_TEXT else ""
        if (thread.id, topic) not in named:
            named.add((thread.id, topic))
            written.append((topic, message.date_created))
        written.append((plain_text(message.body or ""), message.date_created))
    shown = [one for one in written if one[0]]
    has_file = any(one.attachments is None or one.attachments or has_picture(one.body or "") for _, one in oldest_first)
    attached = has_file or (unread and bool(shown))
    return CustomerMessages(tuple(text for text, _ in shown), tuple(at for _, at in shown), attached)

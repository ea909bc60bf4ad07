"""The headers of a record as JSON text, in the two forms that the store holds.

The columns `outbox.headers` and `dead_letters.headers` hold each value in hexadecimal. The column `log_records.headers`
holds it in Latin-1, one character for each byte. A stored text does not say which form it has, so a column can get the
other form only with a migration.
"""

import json
from functools import lru_cache

from adapters.ports import RecordHeaders


@lru_cache(64)  # nearly all records have the same headers
def headers_to_json(headers: RecordHeaders) -> str:
    """Encode the headers for `outbox` and `dead_letters`."""
    return json.dumps([[name, value.hex()] for name, value in headers])


def headers_from_json(text: str) -> RecordHeaders:
    """Decode the headers of `outbox` and `dead_letters`."""
    return tuple((name, bytes.fromhex(value)) for name, value in json.loads(text))


def log_headers_to_json(headers: RecordHeaders) -> str:
    """Encode the headers for `log_records`."""
    return json.dumps([[name, value.decode("latin-1")] for name, value in headers])


def log_headers_from_json(text: str) -> RecordHeaders:
    """Decode the headers of `log_records`."""
    return tuple((name, value.encode("latin-1")) for name, value in json.loads(text))

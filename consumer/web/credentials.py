"""How the sender of a callback proves that it knows the shop's secret (docs/rules.md 32, docs/kornitx.md 8.2)."""

import binascii
import hashlib
import hmac
import re
from base64 import b64decode
from collections.abc import Mapping, Sequence


class Proof:
    """The proof of one request: read from the head, checked against the body piece by piece.

    Accepted are an HMAC-SHA256 of the body (hexadecimal, base64 or base64url, with or without `sha256=`), or the secret
    itself as a bearer token. If there is a signature, it alone counts.
    """

    def __init__(self, headers: Mapping[str, str], secrets: Sequence[str]) -> None:
        """`secrets`: any of them is right. While a secret is replaced, a shop has two."""
        given = headers.get("x-customgateway-hmac", "").strip()
        self._signature = _digest(given)
        self._macs = [hmac.new(secret.encode(), digestmod=hashlib.sha256) for secret in secrets]
        #: Whether the body can still make the request authentic. If not, there is no reason to read the body.
        self.is_possible = self._signature is not None if given else _is_bearer(headers, secrets)

    def update(self, piece: bytes) -> None:
        """Take the next piece of the body."""
        if self._signature is not None:
            for mac in self._macs:
                mac.update(piece)

    def is_authentic(self) -> bool:
        """Whether the sender knows a secret. All pieces of the body have to be taken before."""
        if self._signature is None:
            return self.is_possible
        right = [hmac.compare_digest(mac.digest(), self._signature) for mac in self._macs]
        return any(right)


def _is_bearer(headers: Mapping[str, str], secrets: Sequence[str]) -> bool:
    scheme, _, token = headers.get("authorization", "").strip().partition(" ")
    right = [hmac.compare_digest(token.strip().encode(), secret.encode()) for secret in secrets]
    return scheme.lower() == "bearer" and any(right)


def _digest(text: str) -> bytes | None:
    """Read a SHA-256 in any of its usual forms. None if the text is none."""
    text = re.sub("^sha256=", "", text, flags=re.IGNORECASE)
    try:
        if len(text) == 64:
            return binascii.unhexlify(text)
        digest = b64decode(text.rstrip("=") + "=", altchars=b"-_" if re.search("[-_]", text) else None, validate=True)
    except ValueError:  # not ASCII, or a character or a length that the form does not have
        return None
    return digest if len(digest) == 32 else None

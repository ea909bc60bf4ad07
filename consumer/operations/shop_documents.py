"""What a person can do with the business documents of a shop at Mirakl: S30, S31 and S33 (docs/mirakl.md 5.11).

They are papers of the seller, such as a proof of identity. Neither their names nor their contents reach the store or a
log.
"""

import os
import re
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adapters.errors import OutcomeUnknown, RemoteError
from adapters.ports import Clock
from adapters.remotes.http import BodyTooLong
from adapters.remotes.mirakl_account import MAX_DOWNLOAD_BYTES, Document, MiraklAccount
from adapters.store import audit as audit_rows
from adapters.store.transaction import Store
from consumer.operations.errors import NotPossible, require_reason


@dataclass(frozen=True, slots=True)
class Deleted:
    """What became of one document. `error` is "" if Mirakl deleted it."""

    id: int
    file_name: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class ShopDocuments:
    """The documents of one configured shop."""

    name: str  # of the shop in the configuration
    client: MiraklAccount
    store: Store
    clock: Clock

    def all(self) -> list[Document]:
        """List every document. Raises NotPossible if the call fails."""
        try:
            return self.client.documents()
        except RemoteError as error:
            raise NotPossible(f"{self.name}: {_text(error)}") from error

    def chosen(self, ids: Sequence[int], types: Sequence[str] = ()) -> list[Document]:
        """The documents with these ids, and the documents of these types. If both are empty, every document.

        Raises NotPossible for an id or a type that no document has, and if the shop has no documents.
        """
        known = self.all()
        if unknown := sorted(set(ids) - {one.id for one in known}):
            raise NotPossible(f"{self.name} has no document {unknown[0]}: see `orderflow shops documents list`")
        if strange := sorted(set(types) - {one.type for one in known}):
            raise NotPossible(f"{self.name} has no document of type {strange[0]}: see `orderflow shops documents list`")
        found = [one for one in known if not (ids or types) or one.id in ids or one.type in types]
        if not found:
            raise NotPossible(f"{self.name} has no documents")
        return found

    def download(self, documents: Sequence[Document], folder: Path) -> Path:
        """Write one document to a file in this folder, or several into a ZIP archive, and return the path.

        The file gets its name when it is complete, and only its owner may read it. Raises NotPossible if there is such
        a file already, if the folder is not writable, or if Mirakl does not deliver all of it.
        """
        path = folder / self._file_name(documents)
        if path.exists():
            raise NotPossible(f"{path} exists already")
        try:
            handle, part = tempfile.mkstemp(dir=folder, prefix=".orderflow-")  # readable by its owner only
        except OSError as error:
            raise NotPossible(f"{folder}: {error.strerror}") from error
        try:
            with os.fdopen(handle, "wb") as file:
                self.client.download([one.id for one in documents], file.write)
            if len(documents) > 1 and not zipfile.is_zipfile(part):
                raise NotPossible(f"{self.name}: S31 did not answer a ZIP archive")
            Path(part).rename(path)
        except RemoteError as error:
            limit = f"; the limit is {MAX_DOWNLOAD_BYTES // 2**20} MB" if error.words == BodyTooLong.__name__ else ""
            raise NotPossible(f"{self.name}: {_text(error)}{limit}") from error
        except OSError as error:
            raise NotPossible(f"{path}: {error.strerror}") from error
        finally:
            Path(part).unlink(missing_ok=True)
        return path

    def delete(self, documents: Sequence[Document], *, who: str, why: str) -> list[Deleted]:
        """Delete these documents at Mirakl, one after the other. Each is audited by its id, before its call."""
        require_reason(why)
        return [self._delete(one, who, why) for one in documents]

    def _delete(self, document: Document, who: str, why: str) -> Deleted:
        with self.store.transaction() as tx:
            subject = f"{self.name} {document.id}"
            audit_rows.add(tx, who=who, act="document-delete", subject=subject, why=why, at=self.clock.now())
        try:
            self.client.delete_document(document.id)
        except OutcomeUnknown as error:
            return Deleted(document.id, document.file_name, f"{_text(error)}: it may be deleted, list the documents")
        except RemoteError as error:
            return Deleted(document.id, document.file_name, _text(error))
        return Deleted(document.id, document.file_name)

    def _file_name(self, documents: Sequence[Document]) -> str:
        if len(documents) > 1:
            return f"{self.name}-documents-{self.clock.now():%Y%m%dT%H%M%SZ}.zip"
        return f"{self.name}-{documents[0].id}-{safe_name(documents[0].file_name)}"


def safe_name(name: str) -> str:
    """A remote's file name without folders, and with nothing but letters, digits, dots, dashes and underscores.

    The beginning is cut if it is longer than 100 characters, so that the ending stays.
    """
    last = re.split(r"[/\\]", name)[-1]
    return re.sub(r"[^A-Za-z0-9._-]", "_", last)[-100:].lstrip(".") or "document"


def _text(error: RemoteError) -> str:
    return f"{error.operation} {error.outcome} {error.words}".rstrip()

"""`orderflow shops documents`: the business documents of a shop at Mirakl are listed, downloaded and deleted."""

import json
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from adapters.remotes import mirakl_account
from adapters.remotes.http import Remote, Sink
from adapters.simulators.faults import Fault
from adapters.simulators.mirakl.account import Document
from consumer.cli.output import BAD_ANSWER
from consumer.operations.shop_documents import safe_name
from tests.consumer.cli.seller import Seller
from tests.consumer.operations.audited import Audited, audited
from tests.consumer.operations.desk import Desk


class DocumentSeller(Seller):
    """Runs `shops documents` against a simulated marketplace that holds two documents."""

    def __init__(self) -> None:
        super().__init__("documents")
        for number, name in ((1, "../legal.jpeg"), (2, "card.pdf")):
            document = Document(number, name, f"TYPE{number}", f"bytes of {number}".encode(), self.clock.now())
            self.mirakl.account.documents.append(document)

    def fail(self, operation: str, kind: str = "answer", **more: object) -> None:
        self.mirakl.knobs.faults.append(Fault(operation, kind, **more))  # type: ignore[arg-type]

    def left(self) -> list[int]:
        return [one.id for one in self.mirakl.account.documents]


@pytest.fixture
def seller(desk: Desk) -> DocumentSeller:
    Path("to").mkdir()
    return DocumentSeller()


def files() -> list[str]:
    return sorted(path.name for path in Path("to").iterdir())


# -- List ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_a_refused_list_says_so(seller: DocumentSeller, status: int) -> None:
    seller.fail("S30", status=status)
    assert "alpha: S30" in seller.error("list", "alpha")


def test_a_page_of_a_proxy_is_no_list(seller: DocumentSeller) -> None:
    seller.fail("S30", status=200, content="{}")
    assert "S30 body_error" in seller.error("list", "alpha")


def test_a_document_without_a_usable_id_is_left_out(seller: DocumentSeller) -> None:
    listed = [{"id": None, "file_name": "a", "type": "T"}, 7, {"id": 5, "file_name": None, "type": None}]
    seller.fail("S30", status=200, content=json.dumps({"shop_documents": listed}))
    (one,) = json.loads(seller.run("list", "alpha", "--json").stdout)
    assert one == {"id": 5, "file_name": "", "type": "", "uploaded_at": None}


def test_the_documents_are_listed(seller: DocumentSeller) -> None:
    first, second = json.loads(seller.run("list", "alpha", "--json").stdout)
    assert first["file_name"] == "../legal.jpeg"
    assert second["type"] == "TYPE2"
    assert "card.pdf" in seller.run("list", "alpha").stdout


# -- Download -----------------------------------------------------------------------------------------------------


def test_what_no_document_has_is_not_asked_for(seller: DocumentSeller) -> None:
    assert "alpha has no document 9" in seller.error("download", "alpha", "1", "9", "--to", "to")
    assert "alpha has no document of type X" in seller.error("download", "alpha", "--type", "X", "--to", "to")
    seller.mirakl.account.documents.clear()
    assert "alpha has no documents" in seller.error("download", "alpha", "--to", "to")
    assert seller.mirakl.requests["S31"] == 0


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("answer", {"status": 404}),
        ("answer", {"status": 200, "content": "{}"}),
        ("500", {}),
        ("timeout_before", {}),
        ("timeout_after", {}),
    ],
)
def test_a_failed_download_leaves_no_file(seller: DocumentSeller, kind: str, more: dict[str, object]) -> None:
    seller.fail("S31", kind, **more)
    assert "alpha: S31" in seller.error("download", "alpha", "1", "--to", "to")
    assert files() == []


def test_an_answer_that_is_no_archive_leaves_no_file(seller: DocumentSeller) -> None:
    seller.net.hook = lambda request: (
        httpx.Response(200, content=b"no archive") if request.url.path.endswith("download") else None
    )
    assert "did not answer a ZIP archive" in seller.error("download", "alpha", "--to", "to")
    assert files() == []


def test_a_download_that_is_too_large_leaves_no_file(seller: DocumentSeller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirakl_account, "MAX_DOWNLOAD_BYTES", 5)
    assert "S31 network BodyTooLong; the limit is" in seller.error("download", "alpha", "1", "--to", "to")
    assert files() == []


def test_no_file_is_overwritten_and_a_missing_folder_is_named(seller: DocumentSeller) -> None:
    seller.run("download", "alpha", "2", "--to", "to")
    assert "exists already" in seller.error("download", "alpha", "2", "--to", "to")
    assert "nowhere: No such file or directory" in seller.error("download", "alpha", "2", "--to", "nowhere")


def test_one_document_is_written_as_it_is_under_a_harmless_name(seller: DocumentSeller) -> None:
    result = seller.run("download", "alpha", "1", "--to", "to", "--json")
    assert json.loads(result.stdout) == {"path": "to/alpha-1-legal.jpeg", "bytes": 10, "ids": [1]}
    path = Path("to/alpha-1-legal.jpeg")
    assert path.read_bytes() == b"bytes of 1"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert files() == ["alpha-1-legal.jpeg"]


def test_several_documents_are_written_as_an_archive(seller: DocumentSeller) -> None:
    path = Path(seller.run("download", "alpha", "--to", "to").stdout.strip())
    assert path.suffix == ".zip"
    with zipfile.ZipFile(path) as archive:
        assert len(archive.namelist()) == 2


def test_documents_of_a_type_are_chosen(seller: DocumentSeller) -> None:
    assert "alpha-2-card.pdf" in seller.run("download", "alpha", "--type", "TYPE2", "--to", "to").stdout


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\x\\y.pdf", "y.pdf"),
        ("..", "document"),
        ("", "document"),
        (".bashrc", "bashrc"),
        ("a b\x1b[31m;rm -rf.pdf", "a_b__31m_rm_-rf.pdf"),
        ("\u202efdp.exe", "_fdp.exe"),
        ("n" * 300 + ".pdf", "n" * 96 + ".pdf"),
    ],
)
def test_a_remote_s_file_name_is_made_harmless(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_a_download_is_never_in_memory_as_a_whole() -> None:
    """Each piece reaches the sink before the next one is read."""
    written = 0
    in_memory: list[int] = []

    def pieces() -> Iterator[bytes]:
        for number in range(100):
            in_memory.append(number * 1000 - written)
            yield b"x" * 1000

    def write(piece: bytes) -> None:
        nonlocal written
        written += len(piece)

    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=pieces()))
    remote = Remote("mirakl", "https://m.example", lambda *_, **__: None, 5.0, transport)
    body = remote.call("S31", "GET", "/", lambda reply: reply.body, authorization="k", sink=Sink(write, 10**6, 60.0))
    assert written == 100_000
    assert body == b""
    assert max(in_memory) <= 1000


# -- Delete -------------------------------------------------------------------------------------------------------


def test_a_no_to_the_question_deletes_nothing(seller: DocumentSeller, desk: Desk) -> None:
    result = seller.run("delete", "alpha", "1", "--reason", "x", answers="n\n")
    assert result.exit_code == BAD_ANSWER
    assert "legal.jpeg" in result.stderr
    assert seller.left() == [1, 2]
    assert audited(desk.store) == []


def test_an_unknown_document_or_a_blank_reason_deletes_nothing(seller: DocumentSeller) -> None:
    assert "alpha has no document 9" in seller.error("delete", "alpha", "1", "9", "--reason", "x", "--yes")
    assert "--reason is blank" in seller.error("delete", "alpha", "1", "--reason", " ", "--yes")
    assert seller.left() == [1, 2]


def test_a_document_that_mirakl_does_not_delete_is_shown_and_the_others_are_deleted(seller: DocumentSeller) -> None:
    seller.fail("S33", "500")
    result = seller.run("delete", "alpha", "1", "2", "--reason", "old", "--yes", "--json")
    assert result.exit_code == BAD_ANSWER
    first, second = json.loads(result.stdout)
    assert "it may be deleted" in first["error"]
    assert second["error"] == ""
    assert seller.left() == [1]


def test_a_deleted_document_is_gone_and_audited_without_its_name(seller: DocumentSeller, desk: Desk) -> None:
    result = seller.run("delete", "alpha", "2", "--reason", "old", "--yes")
    assert result.exit_code == 0
    assert seller.left() == [1]
    assert audited(desk.store) == [Audited("ops", "document-delete", "alpha 2", "old")]

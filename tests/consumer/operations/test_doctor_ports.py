"""`orderflow doctor` beside a running service whose processes have ports of their own (docs/production.md)."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from adapters.engines.processes import free_port
from consumer.web.app import application, callback_routes
from consumer.web.callbacks import Intake
from consumer.web.server import WebServer
from tests.consumer.operations.ward import Ward
from tests.consumer.rig import Rig
from tests.support import serving


@contextmanager
def intake(folder: Path, port: int, certificate: tuple[Path, Path] | None) -> Iterator[Rig]:
    """A process that takes callbacks at this port. Yields the service whose metrics count them."""
    folder.mkdir()
    rig = Rig(folder)
    routes = callback_routes(Intake({}, rig.metrics))
    server = WebServer("intake", application(routes), "127.0.0.1", port, certificate=certificate)
    with serving(server):
        yield rig


def certificate_in(folder: Path) -> tuple[Path, Path]:
    issued = trustme.CA().issue_cert("orders.example")
    files = folder / "tls.crt", folder / "tls.key"
    files[0].write_bytes(b"".join(one.bytes() for one in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(files[1])
    files[1].chmod(0o600)
    return files


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_the_port_of_callbacks_that_orderflow_has_is_no_fault(tmp_path: Path, tls: bool) -> None:
    """A person who reads at night that a program has it is told to end this program."""
    ward, port = Ward(tmp_path), free_port()
    files = certificate_in(tmp_path) if tls else None
    lines = 'certificate_file = "tls.crt"\nkey_file = "tls.key"\n' if tls else ""
    ward.set("intake", f"port = {port}\n{lines}")
    with intake(tmp_path / "service", port, files) as rig:
        found = ward.found("ok")
        counted = rig.metrics.registry.get_sample_value
        assert counted("orderflow_callbacks_total", {"shop": "other", "result": "unknown_shop"}) is None
    assert found["ports", ""] == f"127.0.0.1:{ward.port}: free, 127.0.0.1:{port}: orderflow runs here"


def test_the_port_of_callbacks_that_another_program_has_is_a_line(tmp_path: Path) -> None:
    ward = Ward(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ward.set("intake", f"port = {port}")
        threading.Thread(target=_hang_up, args=(other,), daemon=True).start()
        assert ward.found("fail") == {("ports", ""): f"intake: 127.0.0.1:{port}: Address already in use"}


def _hang_up(server: socket.socket) -> None:
    server.accept()[0].close()

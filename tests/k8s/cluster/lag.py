"""Plays KEDA's API of external metrics: it says how many records wait, as a check sets it."""

import json
import ssl
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.engines import make_certificates
from tests.k8s.cluster.objects import METRICS_GROUP

VERSION = f"{METRICS_GROUP}/v1beta1"


class Lag:
    """A server on loopback. `records`: how many records wait, for every metric."""

    def __init__(self, folder: Path) -> None:
        self.records = 0
        certificates = make_certificates(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.keystore)
        lag = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                text = json.dumps(lag.answer(self.path)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, path: str) -> dict[str, Any]:
        parts = path.partition("?")[0].strip("/").split("/")
        if len(parts) < 6:  # discovery: /apis/GROUP/VERSION
            resource = {
                "name": "externalmetrics",
                "namespaced": True,
                "kind": "ExternalMetricValueList",
                "verbs": ["get"],
            }
            return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": VERSION, "resources": [resource]}
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        value = {"metricName": parts[-1], "metricLabels": {}, "timestamp": now, "value": str(self.records)}
        return {"kind": "ExternalMetricValueList", "apiVersion": VERSION, "metadata": {}, "items": [value]}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

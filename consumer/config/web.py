"""The settings of what a process serves, [web] and [intake], and of how it reaches remotes, [http]."""

from pathlib import Path

from pydantic import Field, model_validator

from consumer.config.types import ProxyAddress, Table


class WebTable(Table):
    """Where /metrics, /live and /ready are served."""

    #: The address that is listened on. "0.0.0.0" or "::" for every network of the machine.
    host: str = "127.0.0.1"
    #: The port. A second process on one machine needs another one.
    port: int = Field(default=9464, ge=0, le=65535)


class IntakeTable(Table):
    """Where the callbacks of the OMS are taken: PUT /oms/callbacks/SHOP."""

    #: The address that is listened on.
    host: str = "127.0.0.1"
    #: Without it: at the port of [web], beside metrics and probes.
    port: int | None = Field(default=None, ge=0, le=65535)
    #: With both files the port speaks TLS. Both are PEM; the first holds the certificate and its chain.
    certificate_file: Path | None = None
    #: The private key of the certificate.
    key_file: Path | None = None

    @property
    def files(self) -> tuple[Path, Path] | None:
        """The files of the certificate and of its key. None: the port speaks plain HTTP."""
        return (self.certificate_file, self.key_file) if self.certificate_file and self.key_file else None

    @model_validator(mode="after")
    def _consistent(self) -> "IntakeTable":
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together")
        if self.port is None and (self.certificate_file or "host" in self.model_fields_set):
            raise ValueError("host, certificate_file and key_file need a port (without one: the port of [web])")
        return self


class HttpTable(Table):
    """How Mirakl and the OMS are reached. Certificates and proxy do not hold for http:// addresses."""

    #: The certificates that are trusted, in PEM, in place of those of certifi: for a proxy that inspects TLS. The file
    #: is read at the start: restart the processes after it changed.
    ca_file: Path | None = None
    #: A proxy without user and password, such as "http://proxy.example:3128".
    proxy: ProxyAddress | None = None
    #: Whether SSL_CERT_FILE, HTTPS_PROXY and NO_PROXY of the environment count, where ca_file and proxy are not set.
    from_environment: bool = False
    #: Whether every remote is a simulator, for a demo. Only then may an http:// address be of another host. An https://
    #: address is refused then, so that no real shop is beside simulators. `doctor` fails if a remote is no simulator.
    simulated: bool = False

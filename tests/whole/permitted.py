"""A server with the users of ``deploy/nats.conf``, and every process under its own."""

import asyncio
import secrets
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import nats
import nats.errors
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from nats.aio.client import Client

from services.cli.up import free_port
from services.settings import Settings
from tests.whole.running import PYTHON, ROOT, SESSION, Child, until

T = TypeVar("T")
SERVER = str(Path(sys.executable).parent / "nats-server")
TURNLOG = str(Path(sys.executable).with_name("turnlog"))
CONFIGURATION = ROOT / "deploy" / "nats.conf"
USERS = ("operator", "gateway", "responder", "projector", "compactor", "auditor", "acme")


def certify(directory: Path) -> None:
    """An authority in ``ca.pem``, and ``NAME.pem`` and ``NAME.key`` of a server and a client."""
    now, authority = datetime.now(UTC), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])

    def signed(name: str, key: ec.EllipticCurvePrivateKey, *, ca: bool = False) -> x509.Certificate:
        names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        issued = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(identifier, critical=False)
            .add_extension(issued, critical=False)
            .sign(authority, hashes.SHA256())
        )

    def write(name: str, key: ec.EllipticCurvePrivateKey, *, ca: bool = False) -> None:
        pem = signed(name, key, ca=ca).public_bytes(serialization.Encoding.PEM)
        (directory / f"{name}.pem").write_bytes(pem)
        secret = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        (directory / f"{name}.key").write_bytes(secret)

    write("authority", authority, ca=True)
    for name in ("server", "client"):
        write(name, ec.generate_private_key(ec.SECP256R1()))


class Permitted:
    """The server, and what runs on it; all of it ends with `end`."""

    def __init__(self, directory: Path) -> None:
        """Nothing runs yet."""
        self.directory = directory
        self.mark = f"{SESSION}-{secrets.token_hex(4)}"
        self.port = free_port()
        self.passwords = {name: f"p{secrets.token_hex(8)}" for name in USERS}
        self.children: dict[str, Child] = {}
        self.url = ""
        certify(directory)

    def tls(self) -> dict[str, str]:
        """Settings of whoever connects."""
        return {
            "TURNLOG_NATS_CA": str(self.directory / "authority.pem"),
            "TURNLOG_NATS_CERT": str(self.directory / "client.pem"),
            "TURNLOG_NATS_KEY": str(self.directory / "client.key"),
        }

    def url_of(self, user: str) -> str:
        """How a user connects."""
        return f"tls://{user}:{self.passwords[user]}@127.0.0.1:{self.port}"

    def start_server(self) -> None:
        """Run the server with the configuration that is shipped."""
        variables = {
            "NATS_LISTEN": f"127.0.0.1:{self.port}",
            "NATS_STORE": str(self.directory / "store"),
            "NATS_CERT": str(self.directory / "server.pem"),
            "NATS_CERT_KEY": str(self.directory / "server.key"),
            "NATS_CA": str(self.directory / "authority.pem"),
            **{f"NATS_{name.upper()}": word for name, word in self.passwords.items()},
        }
        argv = (SERVER, "-c", str(CONFIGURATION))
        self._run("server", *argv, **variables)
        until(lambda: "Server is ready" in self.log("server"))

    def start(self, process: str, **variables: str) -> Child:
        """Run a process under the user of its name."""
        given = {
            **self.tls(),
            "TURNLOG_NATS_URL": self.url_of(process),
            "TURNLOG_DATA_DIR": str(self.directory / "data"),
            **variables,
        }
        return self._run(process, *PYTHON, f"services.{process}", **given)

    def beside(self, process: str, **variables: str) -> Child:
        """As `start`, one more."""
        given = {**self.tls(), "TURNLOG_NATS_URL": self.url_of(process), **variables}
        argv = (*PYTHON, f"services.{process}")
        return self._run(f"{process}-{len(self.children)}", *argv, **given)

    def command(self, *arguments: str, user: str = "operator") -> subprocess.CompletedProcess[str]:
        """Run a command of ``turnlog`` under a user."""
        environment = {"PATH": "/usr/bin:/bin", "TURNLOG_NATS_URL": self.url_of(user), **self.tls()}
        return subprocess.run(
            [TURNLOG, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            timeout=90,
        )

    def everything(self) -> None:
        """Make the log, and run what serves it."""
        self.start_server()
        prepared = self.command("prepare")
        assert prepared.returncode == 0, prepared.stderr
        simulator = self._run("simulator", *PYTHON, "services.simulator", "--port", "0")
        model = simulator.said("simulator.started")["url"]
        port = free_port()
        of_model = {"TURNLOG_MODEL_URL": model, "TURNLOG_MODEL_KEY": "simulator"}
        (self.directory / "data").mkdir()
        for name in ("projector", "compactor", "responder"):
            self.start(name, TURNLOG_TOKENS_BUDGET="300", **of_model)
        self.start("gateway", TURNLOG_PORT=str(port), TURNLOG_TOKENS_BUDGET="300", **of_model)
        self.url = f"http://127.0.0.1:{port}"

        def serves() -> bool:
            for name, child in self.children.items():
                assert child.process.poll() is None, self.log(name)[-3000:]
            try:
                return httpx2.get(f"{self.url}/healthz", timeout=5).status_code == 200
            except httpx2.TransportError:
                return False

        until(serves, wait_s=60)

    def log(self, name: str) -> str:
        """What a process has written."""
        return self.children[name].log_path.read_text()

    def denied(self) -> list[str]:
        """What the server has refused to anybody, as it logs it."""
        return [line for line in self.log("server").splitlines() if "Violation" in line]

    def on(self, user: str, work: Callable[[Client], Awaitable[T]], *, inbox: str = "") -> T:
        """What ``work`` returns on a connection of a user."""
        settings = {
            name.removeprefix("TURNLOG_").lower(): path for name, path in self.tls().items()
        }

        async def ignore(_fault: Exception) -> None:
            pass

        async def run() -> T:
            client = await nats.connect(
                self.url_of(user),
                tls=Settings(**settings).tls(),
                tls_handshake_first=True,
                inbox_prefix=inbox or f"_INBOX_{user}",
                allow_reconnect=False,
                error_cb=ignore,
            )
            try:
                return await work(client)
            finally:
                await client.close()

        return asyncio.run(run())

    def end(self) -> None:
        """Kill whatever runs."""
        for child in reversed(self.children.values()):
            child.process.kill()
            child.process.wait(10)

    def _run(self, name: str, *argv: str, **variables: Any) -> Child:
        child = Child(self.directory / f"{name}.log", self.mark, *argv, **variables)
        self.children[name] = child
        return child

"""Mail through a real SMTP server."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any, cast

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from callkeeper.embedded.ports import free_ports
from callkeeper.errors import ConfigurationError, MailUnavailable
from callkeeper.notify import Message
from callkeeper.notify.smtp import SmtpNotifier
from callkeeper.settings import Settings

MORNING = Message(
    subject="callkeeper: yö 24.11. täsmää", text="Löytyi 30, säilytettiin 28.\n", html="<p>Löytyi <b>30</b></p>"
)
PASSWORD = "salasana-0401234501"


@dataclass
class Mailbox:
    """A mail server's handler that keeps what it took."""

    took: list[Envelope] = field(default_factory=list)
    refuse: set[str] = field(default_factory=set)
    full: bool = False

    async def handle_RCPT(self, server: Any, session: Any, envelope: Envelope, address: str, options: Any) -> str:  # noqa: N802  # aiosmtpd's name
        if address in self.refuse:
            return f"550 no such user {address}"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:  # noqa: N802
        if self.full:
            return "452 insufficient storage for 0401234501"
        self.took.append(envelope)
        return "250 OK"

    def only(self) -> EmailMessage:
        [envelope] = self.took
        return cast(EmailMessage, message_from_bytes(cast(bytes, envelope.content), policy=default))


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def port() -> int:
    return free_ports(["smtp"])["smtp"]


@pytest.fixture
def server(mailbox: Mailbox, port: int) -> Iterator[Controller]:
    controller = Controller(mailbox, hostname="127.0.0.1", port=port)
    controller.start()
    yield controller
    controller.stop()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost, signed by itself, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + built.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def guarded(mailbox: Mailbox, port: int, certificate: Path) -> Iterator[Controller]:
    """A server that wants STARTTLS and a sign-in."""

    def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, login: LoginPassword) -> AuthResult:
        known = (login.login, login.password) == (b"callkeeper", PASSWORD.encode())
        return AuthResult(success=known, handled=False)  # the server answers, not this function

    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    controller = Controller(
        mailbox,
        hostname="127.0.0.1",
        port=port,
        tls_context=tls,
        require_starttls=True,
        auth_required=True,
        authenticator=authenticate,
    )
    controller.start()
    yield controller
    controller.stop()


def notifier(port: int, *to: str, **more: Any) -> SmtpNotifier:
    given = {"host": "localhost", "port": port, "sender": "callkeeper@phm.example", "timeout_seconds": 5.0} | more
    return SmtpNotifier(to=to or ("data@phm.example",), **given)


def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=certificate.read_text())


def refusal(sender: SmtpNotifier) -> MailUnavailable:
    with pytest.raises(MailUnavailable) as caught:
        sender.send(MORNING)
    assert caught.value.__suppress_context__
    assert "@" not in str(caught.value)
    assert "0401234501" not in str(caught.value)
    return caught.value


@pytest.mark.usefixtures("server")
def test_a_message_arrives_with_its_text_and_its_html(mailbox: Mailbox, port: int) -> None:
    notifier(port).send(MORNING)

    mail = mailbox.only()
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert html is not None
    assert (mail["Subject"], mail["From"], mail["To"]) == (
        MORNING.subject,
        "callkeeper@phm.example",
        "data@phm.example",
    )
    assert text.get_content().replace("\r\n", "\n") == MORNING.text
    assert "<b>30</b>" in html.get_content()
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Message-ID"].endswith("@phm.example>")


@pytest.mark.usefixtures("server")
def test_several_recipients_get_one_message(mailbox: Mailbox, port: int) -> None:
    settings = Settings(smtp_host="127.0.0.1", smtp_port=port, mail_to="a@phm.example, b@phm.example ,")

    SmtpNotifier.from_settings(settings).send(Message(subject="x", text="y"))

    assert mailbox.took[0].rcpt_tos == ["a@phm.example", "b@phm.example"]
    assert mailbox.only()["To"] == "a@phm.example, b@phm.example"
    assert not mailbox.only().is_multipart()


@pytest.mark.usefixtures("server")
def test_a_message_for_others_does_not_go_to_the_data_team(mailbox: Mailbox, port: int) -> None:
    notifier(port).send(MORNING, to="officer@phm.example, deputy@phm.example")

    assert mailbox.took[0].rcpt_tos == ["officer@phm.example", "deputy@phm.example"]
    assert mailbox.only()["To"] == "officer@phm.example, deputy@phm.example"


@pytest.mark.usefixtures("server")
def test_one_refused_recipient_is_warned_of_and_does_not_keep_it_from_the_others(
    mailbox: Mailbox, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    mailbox.refuse = {"gone@phm.example"}

    notifier(port, "gone@phm.example", "data@phm.example").send(MORNING)

    assert mailbox.took[0].rcpt_tos == ["data@phm.example"]
    ours = [record.getMessage() for record in caplog.records if record.name != "mail.log"]  # the server's own
    assert any("refused 1 of 2 recipients" in words for words in ours)
    assert not any("gone@" in words for words in ours)


@pytest.mark.usefixtures("server")
def test_a_message_that_nobody_gets_is_an_error_in_our_words(mailbox: Mailbox, port: int) -> None:
    mailbox.refuse = {"data@phm.example"}

    assert "refuses every recipient" in str(refusal(notifier(port)))


@pytest.mark.usefixtures("server")
def test_a_full_relay_is_an_error_that_may_pass(mailbox: Mailbox, port: int) -> None:
    mailbox.full = True

    assert refusal(notifier(port)).retry


def test_a_relay_that_is_not_there_is_an_error_that_may_pass(port: int) -> None:
    wrong = refusal(notifier(port))

    assert "does not answer" in str(wrong)
    assert wrong.retry


@pytest.mark.usefixtures("guarded")
def test_a_message_goes_over_starttls_with_a_sign_in(mailbox: Mailbox, port: int, certificate: Path) -> None:
    notifier(port, user="callkeeper", password=PASSWORD, starttls=True, tls=trusting(certificate)).send(MORNING)

    assert mailbox.only()["Subject"] == MORNING.subject


@pytest.mark.usefixtures("guarded")
def test_a_wrong_password_is_told_from_other_trouble(port: int, certificate: Path) -> None:
    sender = notifier(port, user="callkeeper", password="0401234501", starttls=True, tls=trusting(certificate))

    assert "does not know this user" in str(refusal(sender))


@pytest.mark.usefixtures("guarded")
def test_a_certificate_that_nobody_vouches_for_stops_it(mailbox: Mailbox, port: int) -> None:
    sender = notifier(port, user="callkeeper", password=PASSWORD, starttls=True)

    assert "certificate" in str(refusal(sender))
    assert mailbox.took == []


@pytest.mark.usefixtures("server")
def test_a_relay_without_starttls_is_not_spoken_to_in_the_clear(mailbox: Mailbox, port: int) -> None:
    assert "STARTTLS" in str(refusal(notifier(port, starttls=True)))
    assert mailbox.took == []


@pytest.mark.parametrize("settings", [Settings(), Settings(smtp_host="127.0.0.1", mail_to=" , ")])
def test_without_a_relay_or_a_recipient_the_settings_are_wrong(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="no relay or no recipient"):
        SmtpNotifier.from_settings(settings)


def test_the_password_shows_nowhere(port: int) -> None:
    assert PASSWORD not in repr(notifier(port, user="callkeeper", password=PASSWORD))

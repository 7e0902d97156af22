"""E-mail over SMTP. What the relay says holds addresses and more: it is never repeated."""

from __future__ import annotations

import logging
import smtplib
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import localtime, make_msgid, parseaddr

from callkeeper.errors import ConfigurationError, MailUnavailable
from callkeeper.notify import Message
from callkeeper.settings import Settings

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 15.0


class SmtpNotifier:
    """Sends to ``to`` through one relay, a connection a message; ``tls`` is for relays with a certificate of one's own."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        sender: str,
        to: Sequence[str],
        user: str = "",
        password: str = "",
        starttls: bool = False,
        tls: ssl.SSLContext | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._host, self._port, self._user, self._password = host, port, user, password
        self._sender, self._to = sender, tuple(to)
        self._starttls, self._tls, self._timeout_seconds = starttls, tls, timeout_seconds

    @classmethod
    def from_settings(cls, settings: Settings) -> SmtpNotifier:
        """The notifier of these settings. Raises ConfigurationError where no relay or nobody to write to is set."""
        to = _addresses(settings.mail_to)
        if not settings.smtp_host or not to:
            raise ConfigurationError(
                "No mail can be sent: there is no relay or no recipient.",
                mend="Set CALLKEEPER_SMTP_HOST and CALLKEEPER_MAIL_TO.",
            )
        return cls(
            host=settings.smtp_host,
            port=settings.smtp_port,
            sender=settings.mail_from,
            to=to,
            user=settings.smtp_user,
            password=settings.smtp_password.get_secret_value(),
            starttls=settings.smtp_starttls,
        )

    def __repr__(self) -> str:
        return f"SmtpNotifier({self._host!r}, {self._port})"

    def send(self, message: Message, *, to: str = "") -> None:
        """Sends to everybody at once. Raises MailUnavailable unless the relay took it for one of them at least."""
        recipients = _addresses(to) or self._to
        mail = self._compose(message, recipients)
        try:
            with smtplib.SMTP(self._host, self._port, timeout=self._timeout_seconds) as relay:
                if self._starttls:
                    relay.starttls(context=self._tls or ssl.create_default_context())
                if self._user:
                    relay.login(self._user, self._password)
                refused = relay.send_message(mail, from_addr=self._sender, to_addrs=recipients)
        except smtplib.SMTPAuthenticationError:
            raise MailUnavailable("The mail relay does not know this user.", mend="Correct its password.") from None
        except smtplib.SMTPRecipientsRefused:
            raise MailUnavailable(
                "The mail relay refuses every recipient.", mend="Look at CALLKEEPER_MAIL_TO, _PRIVACY and _ESCALATION."
            ) from None
        except smtplib.SMTPSenderRefused:
            raise MailUnavailable("The mail relay refuses the sender.", mend="Look at CALLKEEPER_MAIL_FROM.") from None
        except smtplib.SMTPNotSupportedError:
            raise MailUnavailable(
                "The mail relay offers no STARTTLS, or no sign-in that is known here.",
                mend="Look at CALLKEEPER_SMTP_STARTTLS.",
            ) from None
        except ssl.SSLError:
            raise MailUnavailable(
                "The mail relay's certificate is not to be trusted.", mend="Look at its name and issuer."
            ) from None
        except (smtplib.SMTPException, OSError):
            raise MailUnavailable(
                "The mail relay does not answer, or did not take the message.", mend="Look whether it runs."
            ) from None
        if refused:
            # Sent again, the others would get it twice.
            log.warning("The mail relay refused %d of %d recipients.", len(refused), len(recipients))

    def _compose(self, message: Message, recipients: Sequence[str]) -> EmailMessage:
        mail = EmailMessage(policy=SMTP)
        mail["Subject"], mail["From"], mail["To"] = message.subject, self._sender, ", ".join(recipients)
        mail["Date"] = localtime()
        # The domain is the sender's: left out, it would be the name of this machine.
        mail["Message-ID"] = make_msgid(domain=parseaddr(self._sender)[1].rpartition("@")[2] or "callkeeper")
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday notice comes back
        mail.set_content(message.text)
        if message.html is not None:
            mail.add_alternative(message.html, subtype="html")
        return mail


def _addresses(text: str) -> tuple[str, ...]:
    return tuple(address.strip() for address in text.split(",") if address.strip())

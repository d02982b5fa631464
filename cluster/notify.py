"""Tells people how a run ended: webhook, mail, SNS topic, as the site's `[nightly]` names them.

All receivers are told at the same time and each within `DEADLINE_S`; what fails is an outcome, never an
exception. Connections are verified. A webhook's address may be a secret: only its host is ever shown, and an
error of the transport, which may quote the address, is replaced by words of ours.
"""

from __future__ import annotations

import http.client
import json
import queue
import smtplib
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cluster.errors import RackproofError

if TYPE_CHECKING:
    from cluster.aws import Aws
    from cluster.secrets import Secrets
    from cluster.site import Site

TRY_S = 10
"""Seconds for one connection, and for each wait for an answer on it."""
TRIES = 2
PAUSE_S = 1.0
DEADLINE_S = 90
"""Seconds after which a receiver counts as not told, whatever its connection does; AWS alone may take 75."""
_SUBJECT = 100  # characters that SNS allows


class NotToldError(RackproofError):
    """A receiver could not be told; the sentence holds no address that may be secret."""


class _PassingError(NotToldError):
    """What may be over in a second."""


@dataclass(frozen=True)
class Message:
    """What is told. `subject` is one line, `text` what people read, `data` what a webhook's program reads."""

    subject: str
    text: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """Whether one receiver was told. `to` names it without secrets; `detail` says why not."""

    to: str
    sent: bool
    detail: str = ""


class Notifier:
    """The receivers of one site. `hide` is given each secret before it is used, so that no log holds it."""

    def __init__(
        self, site: Site, aws: Aws, secrets: Secrets, hide: Callable[[list[str]], None] | None = None
    ) -> None:
        self._site = site
        self._aws = aws
        self._secrets = secrets
        self._hide = hide or (lambda _: None)

    def send(self, message: Message, only: frozenset[str] | None = None) -> list[Outcome]:
        """Tell every receiver, or those whose names (`Outcome.to`) are in `only`; in the site's order."""
        table = self._site.nightly
        wanted: list[tuple[str, str]] = []
        for each in table.notify if table is not None else ():
            taken = sum(named(other) == named(each) for _, other in wanted)
            wanted.append((f"{named(each)} ({taken + 1})" if taken else named(each), each))
        wanted = [(name, each) for name, each in wanted if only is None or name in only]
        answers: queue.SimpleQueue[tuple[int, Outcome]] = queue.SimpleQueue()

        def tell(number: int, name: str, receiver: str) -> None:
            answers.put((number, self._outcome(name, receiver, message)))

        for number, (name, receiver) in enumerate(wanted):
            # A daemon: a receiver that hangs must not keep the run from ending.
            threading.Thread(target=tell, args=(number, name, receiver), daemon=True).start()
        late = f"no answer within {DEADLINE_S} s"
        outcomes = [Outcome(name, False, late) for name, _ in wanted]
        deadline = time.monotonic() + DEADLINE_S
        for _ in wanted:
            try:
                number, outcome = answers.get(timeout=max(deadline - time.monotonic(), 0.0))
            except queue.Empty:
                break
            outcomes[number] = outcome
        return outcomes

    def _outcome(self, name: str, receiver: str, message: Message) -> Outcome:
        way, _, where = receiver.partition(":")
        tell = {"webhook": self._webhook, "mail": self._mail, "sns": self._sns}[way]
        for attempt in range(1, TRIES + 1):
            try:
                tell(where, message)
            except _PassingError as error:
                if attempt == TRIES:
                    return Outcome(name, False, str(error))
                time.sleep(PAUSE_S)
            except RackproofError as error:
                return Outcome(name, False, str(error))
            except Exception as error:  # noqa: BLE001 - a run's verdict must not depend on a receiver
                return Outcome(name, False, f"failed: {type(error).__name__}")
            else:
                return Outcome(name, True)
        raise AssertionError("unreachable")

    def _resolve(self, reference: str) -> str:
        value = self._secrets.resolve(reference)
        if reference.startswith("ssm:"):
            path = urlsplit(value).path.strip("/")
            self._hide([each for each in (value, path) if len(each) >= 8])
        return value

    def _tls(self) -> ssl.SSLContext:
        table = self._site.nightly
        if table is None or table.ca_file is None:
            return ssl.create_default_context()
        path = self._site.resolve(table.ca_file)
        try:
            return ssl.create_default_context(cafile=str(path))
        except (OSError, ssl.SSLError):
            raise NotToldError(
                f"nightly.ca_file = {table.ca_file}: expected a file of certificates"
            ) from None

    def _webhook(self, where: str, message: Message) -> None:
        url = self._resolve(where)
        if urlsplit(url).scheme != "https" or not urlsplit(url).hostname:
            raise NotToldError(f"the value of {where} is no https URL")
        body = json.dumps({"text": message.text, "subject": message.subject, **message.data}).encode()
        request = urllib.request.Request(  # noqa: S310 - https, see above
            url, data=body, headers={"Content-Type": "application/json", "User-Agent": "rackproof"}
        )
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=self._tls()), _NoRedirect())
        try:
            opener.open(request, timeout=TRY_S).close()
        except urllib.error.HTTPError as error:
            error.close()
            kind = _PassingError if error.code >= 500 or error.code == 429 else NotToldError
            raise kind(f"answered with HTTP status {error.code}") from None
        except urllib.error.URLError as error:
            raise _no_connection(error.reason) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _no_connection(error) from None

    def _mail(self, where: str, message: Message) -> None:
        table = self._site.nightly.mail if self._site.nightly is not None else None
        if table is None:
            raise NotToldError("nightly.mail: expected a mail server")
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = table.sender, where, _one_line(message.subject)
        mail["Date"] = formatdate(localtime=False)
        mail["Message-ID"] = make_msgid(domain=table.sender.rpartition("@")[2])
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text)
        login = [self._secrets.resolve(each) for each in (table.user, table.password) if each is not None]
        self._hide([each for each in login[1:] if each])
        try:
            with _server(table.security, table.server, table.port, self._tls) as server:
                if login:
                    server.login(*login)
                server.send_message(mail)
        except smtplib.SMTPResponseException as error:
            kind = _PassingError if 400 <= error.smtp_code < 500 else NotToldError
            raise kind(f"{table.server}:{table.port} answered with SMTP status {error.smtp_code}") from None
        except smtplib.SMTPRecipientsRefused as error:
            codes = ", ".join(str(code) for code, _ in error.recipients.values())
            raise NotToldError(
                f"{table.server}:{table.port} refused the address, SMTP status {codes}"
            ) from None
        except smtplib.SMTPServerDisconnected:
            raise _PassingError(f"{table.server}:{table.port} closed the connection") from None
        except smtplib.SMTPException as error:
            raise NotToldError(f"{table.server}:{table.port} cannot do it: {type(error).__name__}") from None
        except OSError as error:
            told = _no_connection(error)
            raise type(told)(f"{table.server}:{table.port}: {told}") from None

    def _sns(self, where: str, message: Message) -> None:
        subject = _one_line(message.subject).encode("ascii", "replace").decode()[:_SUBJECT]
        with self._aws.told(f"publishing to {named(f'sns:{where}')}"):
            self._aws.client("sns").publish(TopicArn=where, Subject=subject, Message=message.text)


def named(receiver: str) -> str:
    """A receiver as reports show it: `webhook hooks.example`, `mail ops@rack.example`, `SNS topic x`."""
    way, _, where = receiver.partition(":")
    if way == "mail":
        return f"mail {where}"
    if way == "sns":
        return f"SNS topic {where.rsplit(':', 1)[-1]}"
    return f"webhook {where if where.startswith('ssm:') else urlsplit(where).hostname}"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """What is told goes to the address that the site names, and nowhere else."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _server(security: str, host: str, port: int, tls: Callable[[], ssl.SSLContext]) -> smtplib.SMTP:
    if security == "tls":
        return smtplib.SMTP_SSL(host, port, timeout=TRY_S, context=tls())
    server = smtplib.SMTP(host, port, timeout=TRY_S)
    if security == "starttls":
        try:
            server.starttls(context=tls())
            server.ehlo()
        except BaseException:
            server.close()
            raise
    return server


def _no_connection(reason: object) -> NotToldError:
    """Why there was no connection, in our own words."""
    if isinstance(reason, ssl.SSLCertVerificationError):
        return NotToldError(f"its certificate is not accepted ({reason.verify_message})")
    if isinstance(reason, ssl.SSLError):
        return NotToldError("no TLS connection could be made")
    if isinstance(reason, TimeoutError):
        return _PassingError(f"no answer within {TRY_S} s")
    if isinstance(reason, socket.gaierror):
        return _PassingError("its name is not known")
    if isinstance(reason, OSError) and reason.strerror:
        return _PassingError(f"no connection ({reason.strerror})")
    return _PassingError("no connection")


def _one_line(text: str) -> str:
    return " ".join(text.split())

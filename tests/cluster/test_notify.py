"""Who is told, over verified connections, within bounds; and that no secret is in what is said of it."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from cluster import notify
from cluster.aws import Aws
from cluster.notify import Message, Notifier, Outcome, named
from cluster.secrets import SecretError
from cluster.site_services import Mail, Nightly
from tests.cluster.fakes import certificates
from tests.cluster.fakes.receivers import Hook, MailServer
from tests.cluster.test_aws import make_table

MESSAGE = Message(
    "lab: FAILED", "The rehearsal of lab failed.\nreport: reports/runs/x/report.html", {"seed": 7}
)
CANARY = "T0K3N-canary-4711"


class Vault:
    """The parameters of a site, in memory."""

    def __init__(self, **values: str) -> None:
        self.values = {f"ssm:/pve1/{name}": value for name, value in values.items()}

    def resolve(self, reference: str) -> str:
        if not reference.startswith("ssm:"):
            return reference
        if reference not in self.values:
            raise SecretError(f"AWS SSM parameter {reference.removeprefix('ssm:')} does not exist")
        return self.values[reference]


class Place:
    """What `Notifier` needs of a site."""

    def __init__(self, nightly: Nightly | None) -> None:
        self.nightly = nightly

    def resolve(self, path: Path) -> Path:
        return path


Opened = Callable[..., Any]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificates.make(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def hook(pair: tuple[Path, Path]) -> Iterator[Callable[..., Hook]]:
    opened: list[Hook] = []

    def make(*answers: int) -> Hook:
        opened.append(Hook(*pair, *answers))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


@pytest.fixture
def mail_server(pair: tuple[Path, Path]) -> Iterator[Callable[..., MailServer]]:
    opened: list[MailServer] = []

    def make(**more: Any) -> MailServer:
        opened.append(MailServer(*pair, **more))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "PAUSE_S", 0.01)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def told(nightly: dict[str, Any], *, aws: Any = None, hide: Any = None, **secrets: str) -> list[Outcome]:
    place: Any = Place(Nightly.model_validate(nightly))
    vault: Any = Vault(**secrets)
    return Notifier(place, aws, vault, hide).send(MESSAGE)


def mailing(server: MailServer, pair: tuple[Path, Path], **more: Any) -> dict[str, Any]:
    mail = {"server": "127.0.0.1", "port": server.port, "sender": "rackproof@rack.example", **more}
    return {"notify": ["mail:ops@rack.example"], "mail": mail, "ca_file": str(pair[0])}


def test_nobody_is_told_where_nobody_is_named() -> None:
    assert told({}) == []
    place: Any = Place(None)
    nothing: Any = None
    assert Notifier(place, nothing, nothing).send(MESSAGE) == []


# -- webhooks


def test_a_webhook_gets_text_and_data(hook: Callable[..., Hook], pair: tuple[Path, Path]) -> None:
    server = hook()
    found = told({"notify": [f"webhook:{server.url}/in/room"], "ca_file": str(pair[0])})
    assert found == [Outcome("webhook 127.0.0.1", True)]
    assert server.received.paths == ["/in/room"]
    assert server.received.bodies == [{"text": MESSAGE.text, "subject": MESSAGE.subject, "seed": 7}]


def test_a_webhooks_secret_address_is_hidden_and_never_said(
    hook: Callable[..., Hook], pair: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    server = hook(500)
    hidden: list[str] = []
    url = f"{server.url}/services/{CANARY}"
    with caplog.at_level(logging.DEBUG):
        found = told(
            {"notify": ["webhook:ssm:/pve1/hook"], "ca_file": str(pair[0])}, hide=hidden.extend, hook=url
        )
    assert server.received.paths == [f"/services/{CANARY}"] * 2
    assert found == [Outcome("webhook ssm:/pve1/hook", False, "answered with HTTP status 500")]
    assert url in hidden and f"services/{CANARY}" in hidden
    assert CANARY not in caplog.text and CANARY not in repr(found)


def test_a_passing_failure_is_tried_once_more(hook: Callable[..., Hook], pair: tuple[Path, Path]) -> None:
    server = hook(503, 200)
    (found,) = told({"notify": [f"webhook:{server.url}/x"], "ca_file": str(pair[0])})
    assert found.sent
    assert len(server.received.bodies) == 2


@pytest.mark.parametrize("status", [302, 307, 400, 404])
def test_a_refusal_is_told_and_no_redirection_followed(
    status: int, hook: Callable[..., Hook], pair: tuple[Path, Path]
) -> None:
    server = hook(status)
    (found,) = told({"notify": [f"webhook:{server.url}/x"], "ca_file": str(pair[0])})
    assert found == Outcome("webhook 127.0.0.1", False, f"answered with HTTP status {status}")
    assert server.received.paths == ["/x"]


def test_a_certificate_of_somebody_else_is_refused(hook: Callable[..., Hook], tmp_path: Path) -> None:
    server = hook()
    other, _ = certificates.make(tmp_path)
    for trusted in ({"ca_file": str(other)}, {}):
        (found,) = told({"notify": [f"webhook:{server.url}/x"], **trusted})
        assert not found.sent
        assert found.detail.startswith("its certificate is not accepted (self")
    assert server.received.bodies == []


@pytest.mark.parametrize("value", [f"http://127.0.0.1/{CANARY}", CANARY, f"https:///{CANARY}"])
def test_a_parameter_that_is_no_https_url_is_one_sentence(value: str) -> None:
    (found,) = told({"notify": ["webhook:ssm:/pve1/hook"]}, hook=value)
    assert found.detail == "the value of ssm:/pve1/hook is no https URL"


def test_a_parameter_that_is_not_there_is_named() -> None:
    (found,) = told({"notify": ["webhook:ssm:/pve1/hook"]})
    assert found.detail == "AWS SSM parameter /pve1/hook does not exist"


def test_a_bad_ca_file_is_one_sentence() -> None:
    (found,) = told({"notify": ["webhook:https://127.0.0.1:9/x"], "ca_file": "/nowhere/ca.pem"})
    assert found.detail == "nightly.ca_file = /nowhere/ca.pem: expected a file of certificates"


def test_nobody_at_home_is_one_sentence(pair: tuple[Path, Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    (found,) = told({"notify": [f"webhook:https://127.0.0.1:{port}/{CANARY}"]})
    assert found.detail == "no connection (Connection refused)"


def test_a_receiver_that_hangs_costs_its_deadline_and_no_other_receiver(
    hook: Callable[..., Hook], pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "DEADLINE_S", 1)
    server = hook()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        receivers = [f"webhook:https://127.0.0.1:{port}/x", f"webhook:{server.url}/y"]
        began = time.monotonic()
        found = told({"notify": receivers, "ca_file": str(pair[0])})
        took = time.monotonic() - began
    assert found == [
        Outcome("webhook 127.0.0.1", False, "no answer within 1 s"),
        Outcome("webhook 127.0.0.1 (2)", True),
    ]
    assert took < 5


def test_what_was_told_can_be_left_out(hook: Callable[..., Hook], pair: tuple[Path, Path]) -> None:
    one, two = hook(), hook()
    nightly = {"notify": [f"webhook:{one.url}/x", f"webhook:{two.url}/x"], "ca_file": str(pair[0])}
    place: Any = Place(Nightly.model_validate(nightly))
    vault: Any = Vault()
    no_aws: Any = None
    found = Notifier(place, no_aws, vault).send(MESSAGE, only=frozenset({"webhook 127.0.0.1 (2)"}))
    assert found == [Outcome("webhook 127.0.0.1 (2)", True)]
    assert (len(one.received.bodies), len(two.received.bodies)) == (0, 1)


# -- mail


def test_mail_goes_through_tls_with_a_login(
    mail_server: Callable[..., MailServer], pair: tuple[Path, Path]
) -> None:
    server = mail_server()
    hidden: list[str] = []
    nightly = mailing(server, pair, user="ssm:/pve1/user", password="ssm:/pve1/password")
    (found,) = told(nightly, hide=hidden.extend, user="rackproof", password=CANARY)
    assert found == Outcome("mail ops@rack.example", True)
    (mail,) = server.mails
    assert "To: ops@rack.example" in mail and "Subject: lab: FAILED" in mail
    assert "Auto-Submitted: auto-generated" in mail
    assert "report: reports/runs/x/report.html" in mail
    assert not [line for line in server.said if line.startswith("plain") and "AUTH" in line]
    assert [line for line in server.said if line.startswith("tls AUTH")]
    assert hidden == [CANARY]


def test_mail_with_tls_from_the_first_byte(
    mail_server: Callable[..., MailServer], pair: tuple[Path, Path]
) -> None:
    server = mail_server(tls_at_once=True)
    (found,) = told(mailing(server, pair, security="tls"))
    assert found.sent
    assert all(line.startswith("tls") for line in server.said)


def test_mail_in_the_clear_only_where_the_site_says_so(
    mail_server: Callable[..., MailServer], pair: tuple[Path, Path]
) -> None:
    server = mail_server()
    (found,) = told(mailing(server, pair, security="none"))
    assert found.sent
    assert all(line.startswith("plain") for line in server.said)


def test_a_server_without_starttls_gets_no_mail(
    mail_server: Callable[..., MailServer], pair: tuple[Path, Path]
) -> None:
    server = mail_server(refuse={"EHLO": "250 fake"})
    (found,) = told(mailing(server, pair))
    assert not found.sent
    assert found.detail == f"127.0.0.1:{server.port} cannot do it: SMTPNotSupportedError"
    assert server.mails == []


def test_a_mail_servers_certificate_is_checked(
    mail_server: Callable[..., MailServer], pair: tuple[Path, Path], tmp_path: Path
) -> None:
    server = mail_server()
    other, _ = certificates.make(tmp_path)
    (found,) = told({**mailing(server, pair), "ca_file": str(other)})
    assert f"127.0.0.1:{server.port}: its certificate is not accepted" in found.detail
    assert server.mails == []


@pytest.mark.parametrize(
    ("verb", "answer", "told_of"),
    [
        ("AUTH", f"535 bad password {CANARY}", "answered with SMTP status 535"),
        ("RCPT", "550 nobody here", "refused the address, SMTP status 550"),
        ("DATA", "452 disk full", "answered with SMTP status 452"),
    ],
)
def test_a_mail_servers_refusal_is_its_status(
    verb: str, answer: str, told_of: str, mail_server: Callable[..., MailServer], pair: tuple[Path, Path]
) -> None:
    server = mail_server(refuse={verb: answer})
    nightly = mailing(server, pair, user="ssm:/pve1/user", password="ssm:/pve1/password")
    (found,) = told(nightly, user="rackproof", password=CANARY)
    assert found.detail == f"127.0.0.1:{server.port} {told_of}"
    assert server.mails == []


def test_a_subject_of_two_lines_is_no_header_of_its_own(
    mail_server: Callable[..., MailServer], pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = mail_server()
    place: Any = Place(Nightly.model_validate(mailing(server, pair)))
    vault: Any = Vault()
    no_aws: Any = None
    (found,) = Notifier(place, no_aws, vault).send(Message("x\r\nBcc: all@rack.example", "text"))
    assert found.sent
    head = server.mails[0].split("\n\n")[0]
    assert "Subject: x Bcc: all@rack.example" in head
    assert not [line for line in head.splitlines() if line.startswith("Bcc")]


def test_the_default_of_mail_is_verified_tls() -> None:
    assert Mail.model_validate({"server": "x", "sender": "a@b.example"}).security == "starttls"


# -- SNS


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    aws = Aws(make_table(f"http://{host}:{port}", tmp_path_factory.mktemp("aws")))
    yield aws
    aws.close()
    server.stop()


def test_a_topic_gets_subject_and_text(cloud: Aws) -> None:
    topic = cloud.client("sns").create_topic(Name="nightly")["TopicArn"]
    queue = cloud.client("sqs").create_queue(QueueName="inbox")["QueueUrl"]
    arn = cloud.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"][
        "QueueArn"
    ]
    cloud.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    assert told({"notify": [f"sns:{topic}"]}, aws=cloud) == [Outcome("SNS topic nightly", True)]
    (got,) = cloud.client("sqs").receive_message(QueueUrl=queue)["Messages"]
    assert '"Subject": "lab: FAILED"' in got["Body"]
    assert "report: reports/runs/x/report.html" in got["Body"]


def test_a_topic_that_is_not_there_is_one_sentence(cloud: Aws) -> None:
    (found,) = told({"notify": ["sns:arn:aws:sns:us-west-2:123456789012:none"]}, aws=cloud)
    assert (found.to, found.sent) == ("SNS topic none", False)
    assert "publishing to SNS topic none as profile operator was refused: NotFound" in found.detail


# -- what can go wrong on our side


def test_a_mistake_of_ours_is_an_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    def fall(*_: object) -> None:
        raise RuntimeError(CANARY)

    monkeypatch.setattr(Notifier, "_webhook", fall)
    (found,) = told({"notify": ["webhook:https://127.0.0.1:9/x"]})
    assert found == Outcome("webhook 127.0.0.1", False, "failed: RuntimeError")


def test_no_thread_keeps_the_run_from_ending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "DEADLINE_S", 0.05)
    released = threading.Event()
    monkeypatch.setattr(Notifier, "_webhook", lambda *_: released.wait(5))
    (found,) = told({"notify": ["webhook:https://127.0.0.1:9/x"]})
    assert not found.sent
    assert all(thread.daemon for thread in threading.enumerate() if "tell" in thread.name)
    released.set()


@pytest.mark.parametrize(
    ("receiver", "name"),
    [
        (f"webhook:https://hooks.example/{CANARY}", "webhook hooks.example"),
        ("webhook:ssm:/pve1/hook", "webhook ssm:/pve1/hook"),
        ("mail:ops@rack.example", "mail ops@rack.example"),
        ("sns:arn:aws:sns:us-west-2:123456789012:nightly", "SNS topic nightly"),
    ],
)
def test_a_receiver_is_named_without_secrets(receiver: str, name: str) -> None:
    assert named(receiver) == name

"""A secret that is known survives in no spelling; text that holds none is left as it is."""

from __future__ import annotations

import base64
import html
import io
import json
import logging
import shlex
import textwrap
from collections.abc import Callable, Iterator
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reports.redaction import MARK, RedactingStream, Redactor, redact_logging

CANARY = "c4nary-9$x/Q+z=="
KEY = "\n".join(
    [
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW",
        "QyNTUxOQAAACDkT6rjLHcWcNkZqVx0Lk1zVbPq7s5n8n0y3dF0mJmQ2QAAAJhK3Vw0St1c",
        "-----END OPENSSH PRIVATE KEY-----",
        "",
    ]
)
ENCODINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "json": json.dumps,
    "json of json": lambda s: json.dumps(json.dumps(s)),
    "json unicode": lambda s: json.dumps(s, ensure_ascii=False),
    "repr": repr,
    "repr of bytes": lambda s: repr(s.encode()),
    "ascii": ascii,
    "html": html.escape,
    "url": quote,
    "url strict": lambda s: quote(s, safe=""),
    "url lower": lambda s: quote(s, safe="").lower() if s.islower() else quote(s, safe=""),
    "form": quote_plus,
    "shell": shlex.quote,
    "hex": lambda s: s.encode().hex(),
    "base64": lambda s: base64.b64encode(s.encode()).decode(),
    "base64 url": lambda s: base64.urlsafe_b64encode(s.encode()).decode().rstrip("="),
}
secrets = st.text(min_size=6, max_size=60).filter(lambda s: len(s.strip()) >= 6 and not set(s) & set(MARK))


@given(secret=secrets, encoding=st.sampled_from(sorted(ENCODINGS)), before=st.text(), after=st.text())
def test_a_secret_survives_in_no_encoding(secret: str, encoding: str, before: str, after: str) -> None:
    spelled = ENCODINGS[encoding](secret)
    assert spelled not in Redactor([secret]).text(f"{before} {spelled} {after}")


@given(secret=secrets, before=st.binary(max_size=7), after=st.binary(max_size=7))
def test_base64_of_a_text_around_a_secret_gives_nothing_away(
    secret: str, before: bytes, after: bytes
) -> None:
    raw = secret.encode()
    code = base64.b64encode(before + raw + after).decode()
    inside = code[-(-len(before) * 8 // 6) : (len(before) + len(raw)) * 8 // 6]
    cleaned = Redactor([secret]).text(f"Authorization-like: {code}")
    assert inside not in cleaned
    assert len(cleaned) < len(f"Authorization-like: {code}") or MARK in cleaned


@given(secret=secrets, pieces=st.lists(st.integers(1, 9)), around=st.text(alphabet="abc \n", max_size=30))
def test_a_secret_that_comes_in_pieces_does_not_pass(secret: str, pieces: list[int], around: str) -> None:
    assume(secret not in around)
    target = io.StringIO()
    stream = RedactingStream(target, Redactor([secret]))
    rest = around + secret + around
    for size in pieces:
        stream.write(rest[:size])
        rest = rest[size:]
    stream.write(rest)
    stream.release()
    assert secret not in target.getvalue()
    assert MARK in target.getvalue()


def test_a_secret_that_begins_with_another_is_hidden_whole() -> None:
    target = io.StringIO()
    stream = RedactingStream(target, Redactor(["abcdef", "abcdefghijkl"]))
    for piece in ("x abc", "def", "ghi", "jkl y"):
        stream.write(piece)
    stream.release()
    assert target.getvalue() == f"x {MARK} y"


@given(text=st.text(alphabet="abcdefgh .\n", max_size=80), cut=st.integers(0, 80))
def test_a_stream_loses_nothing_else(text: str, cut: int) -> None:
    target = io.StringIO()
    stream = RedactingStream(target, Redactor([CANARY]))
    stream.write(text[:cut])
    stream.write(text[cut:])
    stream.release()
    assert target.getvalue() == text


@pytest.mark.parametrize("width", [19, 20, 48, 64, 70, 76])
def test_wrapped_base64_of_a_key_is_found(width: int) -> None:
    code = base64.b64encode(KEY.encode()).decode()
    for text in ("\n".join(textwrap.wrap(code, width)), "\\n".join(textwrap.wrap(code, width))):
        cleaned = Redactor([KEY]).text(f"before {text} after")
        assert cleaned.startswith("before ")
        assert not any(line in cleaned for line in textwrap.wrap(code, width) if len(line) > 8)


def test_each_line_of_a_key_is_a_secret() -> None:
    redactor = Redactor([KEY])
    for line in KEY.splitlines():
        if not line.startswith("-----"):
            assert redactor.text(f"> {line} <") == f"> {MARK} <"
    assert redactor.text("-----BEGIN CERTIFICATE-----") == "-----BEGIN CERTIFICATE-----"


def test_a_short_value_is_replaced_as_a_word_only() -> None:
    redactor = Redactor(["abc"])
    assert redactor.text("abc abcd x=abc; (abc)") == f"{MARK} abcd x={MARK}; ({MARK})"


def test_values_may_come_late_and_empty_ones_are_ignored() -> None:
    redactor = Redactor(["", "  ", "\n"])
    assert redactor.text("a b  c") == "a b  c"
    redactor.register([CANARY])
    assert CANARY not in redactor.text(CANARY)


@pytest.mark.parametrize(
    "shown", ["c4nary-9$...", "...x/Q+z==", "'c4nary-9$x/Q...nothing of it'", "x… Q+z=="]
)
def test_a_shortened_secret_gives_nothing_away(shown: str) -> None:
    cleaned = Redactor([CANARY]).text(shown)
    assert "c4nary-9" not in cleaned
    assert "x/Q+z" not in cleaned


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mysql --password hunter22 -h x", f"mysql --password {MARK} -h x"),
        ('{"run": "true\\n--password hunter22"}', f'{{"run": "true\\n--password {MARK}"}}'),
        ("\x1b[1m--password hunter22\x1b[0m", None),
        ("ipmi_password=hunter22, next", f"ipmi_password={MARK}, next"),
        ("PASSWORD='hunter 22'", None),
        ('{"root_password": "hunter 22", "a": 1}', f'{{"root_password": "{MARK}", "a": 1}}'),
        ("client_secret: hunter22\n", f"client_secret: {MARK}\n"),
        ("https://root:hunter22@10.9.0.11:8443/x", f"https://root:{MARK}@10.9.0.11:8443/x"),
        ("Authorization: Basic aHVudGVyMjI=", f"Authorization: {MARK}"),
        ("X-Auth-Token: hunter22", f"X-Auth-Token: {MARK}"),
        ("root:$6$abcdefgh$hunter22hunter22/.:19000", f"root:{MARK}:19000"),
        (f"see\n{KEY}end", f"see\n{MARK}\nend"),
    ],
)
def test_what_looks_like_a_secret_is_one(text: str, expected: str | None) -> None:
    cleaned = Redactor().text(text)
    assert "hunter" not in cleaned
    if expected is not None:
        assert cleaned == expected
    assert Redactor().text(cleaned) == cleaned


@pytest.mark.parametrize(
    "text",
    [
        "passwordauthentication no",
        "PasswordAuthentication: no",
        "PermitRootLogin prohibit-password",
        "totem.token = 3000",
        "token: 3000 ms",
        'root_password_hash = "ssm:/pve1/nodes/node1/root_password_hash"',
        "a password attempt was refused",
        "node-lost-bmc-wrong-password of power of node2, and password of the BMC of node2",
        "/pve1/nodes/node1/ipmi_password is stored as String; expected SecureString",
        "node1 has 1 of 2 links...",
    ],
)
def test_plain_words_are_left_alone(text: str) -> None:
    assert Redactor([CANARY]).text(text) == text


def test_data_is_redacted_wherever_a_string_stands() -> None:
    cleaned = Redactor([CANARY]).deep({"a": [{"b": (CANARY, 1, None, True)}], "password": "x1", "n": 2.5})
    assert cleaned == {"a": [{"b": [MARK, 1, None, True]}], "password": MARK, "n": 2.5}


@pytest.fixture
def logs() -> Iterator[io.StringIO]:
    former = redact_logging(Redactor([CANARY]))
    target = io.StringIO()
    handler = logging.StreamHandler(target)
    logger = logging.getLogger("redaction-test")
    logger.addHandler(handler)
    yield target
    logger.removeHandler(handler)
    logging.setLogRecordFactory(former)


def test_log_records_carry_no_secret(logs: io.StringIO) -> None:
    logger = logging.getLogger("redaction-test")
    logger.error("with %s and %d", CANARY, 3)
    try:
        raise ValueError(CANARY)
    except ValueError:
        logger.exception("and a traceback")
    assert CANARY not in logs.getvalue()
    assert f"with {MARK} and 3" in logs.getvalue()
    assert f"ValueError: {MARK}" in logs.getvalue()


def test_hundreds_of_secrets_cost_little() -> None:
    redactor = Redactor([f"secret-number-{number}-of-many" for number in range(200)])
    text = "a line of output that holds nothing of the kind\n" * 200
    assert redactor.text(text) == text

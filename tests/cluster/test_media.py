"""The media server, asked as BMCs ask."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from cluster.media import MediaError, MediaServer
from tests.cluster.fakes import certificates

CONTENT = bytes(range(256)) * 4000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "node 1.iso").write_bytes(CONTENT)
    (tmp_path / "secret").write_text("not published")
    return tmp_path


@pytest.fixture
def server(folder: Path) -> Iterator[MediaServer]:
    with MediaServer(folder, "127.0.0.1") as made:
        yield made


def ask(url: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=10)
    connection.request(method, parts.path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), body


def eventually(so: Callable[[], bool]) -> bool:
    """The client may have read the last byte before the server has counted it."""
    end = time.monotonic() + 10
    while not so() and time.monotonic() < end:
        time.sleep(0.01)
    return so()


def test_the_published_file_is_served_whole(server: MediaServer) -> None:
    url = server.publish("node 1.iso")
    status, headers, body = ask(url)
    assert (status, body) == (200, CONTENT)
    assert headers["Accept-Ranges"] == "bytes"
    assert eventually(lambda: server.sent("node 1.iso") == len(CONTENT))


def test_head_tells_the_size_and_sends_nothing(server: MediaServer) -> None:
    status, headers, body = ask(server.publish("node 1.iso"), "HEAD")
    assert (status, headers["Content-Length"], body) == (200, str(len(CONTENT)), b"")
    assert server.sent("node 1.iso") == 0


@pytest.mark.parametrize(
    ("asked", "first", "length"),
    [
        ("bytes=0-99", 0, 100),
        ("bytes=1000000-", 1_000_000, 24_000),
        ("bytes=-5", 1_023_995, 5),
        ("bytes=1023990-9999999", 1_023_990, 10),
    ],
)
def test_ranges(server: MediaServer, asked: str, first: int, length: int) -> None:
    status, headers, body = ask(server.publish("node 1.iso"), Range=asked)
    assert status == 206
    assert headers["Content-Range"] == f"bytes {first}-{first + length - 1}/{len(CONTENT)}"
    assert body == CONTENT[first : first + length]


@pytest.mark.parametrize("asked", ["bytes=5000000-", "bytes=9-3"])
def test_a_range_that_cannot_be_is_refused(server: MediaServer, asked: str) -> None:
    status, headers, _ = ask(server.publish("node 1.iso"), Range=asked)
    assert (status, headers["Content-Range"]) == (416, f"bytes */{len(CONTENT)}")


@pytest.mark.parametrize("asked", ["bytes=0-1,4-5", "lines=1-2", "bytes=x-y"])
def test_a_range_that_is_not_understood_gives_the_whole(server: MediaServer, asked: str) -> None:
    assert ask(server.publish("node 1.iso"), Range=asked)[0] == 200


def test_nothing_else_is_served(server: MediaServer) -> None:
    url = server.publish("node 1.iso")
    base = url.rsplit("/", 1)[0]
    root = "/".join(url.split("/")[:3])
    for other in (f"{base}/secret", f"{base}/../secret", f"{root}/node%201.iso", f"{root}/", f"{base}/"):
        assert ask(other)[0] == 404
    assert ask(url, "POST")[0] == 501


def test_what_is_not_in_the_folder_cannot_be_published(server: MediaServer, folder: Path) -> None:
    for name in ("missing.iso", "../../etc/passwd", "/etc/passwd", "."):
        with pytest.raises(MediaError, match="no such file in"):
            server.publish(name)
    (folder / "link").symlink_to("/etc/passwd")
    with pytest.raises(MediaError, match="no such file in"):
        server.publish("link")


def test_two_servers_have_different_paths(folder: Path) -> None:
    with MediaServer(folder, "127.0.0.1") as one, MediaServer(folder, "127.0.0.1") as other:
        first, second = (urlsplit(s.publish("secret")).path for s in (one, other))
    assert first != second
    assert len(first) > 30


def test_it_listens_on_its_address_only_and_ends_with_the_block(folder: Path) -> None:
    with MediaServer(folder, "127.0.0.1") as server:
        port = urlsplit(server.publish("secret")).port
        assert port
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.2", port), timeout=2)
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=2)


def test_an_address_that_is_not_ours_is_told(folder: Path) -> None:
    with pytest.raises(MediaError, match=r"cannot listen on 192.0.2.1 \(medium.serve_from\)"):
        MediaServer(folder, "192.0.2.1").__enter__()


def test_a_bmc_that_goes_away_in_the_middle_harms_nobody(server: MediaServer, folder: Path) -> None:
    (folder / "big").write_bytes(bytes(30_000_000))
    parts = urlsplit(server.publish("big"))
    with socket.create_connection((parts.hostname, parts.port), timeout=5) as raw:
        raw.sendall(f"GET {parts.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        raw.recv(1000)
    assert ask(server.publish("node 1.iso"))[2] == CONTENT


def test_many_at_once(server: MediaServer) -> None:
    url = server.publish("node 1.iso")
    bodies: list[bytes] = []
    threads = [threading.Thread(target=lambda: bodies.append(ask(url)[2])) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert bodies == [CONTENT] * 6


def test_the_transcript_names_the_file_and_not_its_path(folder: Path) -> None:
    told: list[tuple[str, str, str, float]] = []
    with MediaServer(folder, "127.0.0.1", observer=lambda *what: told.append(what)) as server:
        url = server.publish("node 1.iso")
        ask(url)
        ask(url.replace("node", "nobody"))
        assert eventually(lambda: len(told) == 2)
    told.sort(key=lambda each: each[2] == "404")
    assert told[0][:3] == (
        "media",
        "127.0.0.1 GET /.../node%201.iso",
        f"{len(CONTENT)} of {len(CONTENT)} bytes from 0",
    )
    assert told[1][2] == "404"
    assert urlsplit(url).path.split("/")[1] not in repr(told)


def test_over_tls(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    certificate, key = certificates.make(tmp_path_factory.mktemp("tls"))
    with MediaServer(folder, "127.0.0.1", tls=(certificate, key)) as server:
        parts = urlsplit(server.publish("node 1.iso"))
        assert parts.scheme == "https"
        context = ssl.create_default_context(cafile=str(certificate))
        connection = http.client.HTTPSConnection("127.0.0.1", parts.port, timeout=10, context=context)
        connection.request("GET", parts.path)
        assert connection.getresponse().read() == CONTENT

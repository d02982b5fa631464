"""An SSH server on loopback that runs commands of this machine's shell: a node, as far as SSH can tell."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from pathlib import Path
from typing import Any

import asyncssh

from tests.loops import end


class _Login(asyncssh.SSHServer):
    def __init__(self, fake: FakeNode) -> None:
        self._fake = fake

    def connection_made(self, conn: Any) -> None:
        self._fake.connections.append(conn)

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: Any) -> bool:
        return username == "root" and key.export_public_key() == self._fake.accepted.export_public_key()


class FakeNode:
    """Runs while the `with` block lasts. `commands` are what ssh was given on its command line."""

    def __init__(self, path: Path | None = None) -> None:
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.accepted = asyncssh.generate_private_key("ssh-ed25519")
        self.connections: list[Any] = []
        self.commands: list[str] = []
        self.port = 0
        self._path = path
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def public_host_key(self) -> str:
        return self.host_key.export_public_key().decode()

    @property
    def private_key(self) -> str:
        return self.accepted.export_private_key().decode()

    def __enter__(self) -> FakeNode:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self.stop_listening()
        end(self._loop, self._thread)

    def stop_listening(self) -> None:
        """From now on, new connections are refused."""
        self._loop.call_soon_threadsafe(self._server.close)
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0.05), self._loop).result(5)

    def cut(self) -> None:
        """Lose every connection without a word, as a power cut would."""
        for connection in self.connections:
            self._loop.call_soon_threadsafe(connection.abort)

    async def _listen(self) -> Any:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[self.host_key],
            server_factory=lambda: _Login(self),
            process_factory=self._process,
            encoding=None,
        )

    async def _process(self, process: Any) -> None:
        self.commands.append(process.command)
        environment = dict(os.environ)
        if self._path is not None:
            environment["PATH"] = f"{self._path}:{environment['PATH']}"
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(
            "/bin/sh", "-c", process.command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment
        )
        feeding = asyncio.create_task(_feed(process, child.stdin))
        try:
            await asyncio.gather(
                _pump(child.stdout, process.stdout),
                _pump(child.stderr, process.stderr),
                return_exceptions=True,
            )
            status = await child.wait()
        finally:
            feeding.cancel()
            child._transport.close()  # kills it; else it is closed after its loop, with a complaint
        process.exit(status if status >= 0 else 128 - status)


async def _feed(process: Any, sink: Any) -> None:
    """What the client sends, until it ends or the connection does."""
    with contextlib.suppress(asyncssh.Error, OSError):
        while data := await process.stdin.read(65536):
            sink.write(data)
            await sink.drain()
    sink.close()


async def _pump(source: Any, sink: Any) -> None:
    while data := await source.read(65536):
        sink.write(data)

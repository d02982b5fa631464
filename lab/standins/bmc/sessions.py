"""Who may speak to a BMC: HTTP basic authentication by sushy-tools, and Redfish sessions beside it."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from sushy_tools.emulator.auth_basic import authenticate
from sushy_tools.emulator.main import RedfishAuthMiddleware
from sushy_tools.error import FishyError

LOGIN = "/redfish/v1/SessionService/Sessions"
MOST = 16  # as BMCs limit them
IDLE_S = 1800.0


class Sessions:
    """Tokens that were handed out; at most 16, each good until 30 minutes without use."""

    def __init__(self, accounts: str) -> None:
        self._accounts = accounts
        self._lock = threading.Lock()
        self._open: dict[str, tuple[str, str, float]] = {}  # id -> token, user, last use

    def login(self, user: str, password: str) -> tuple[str, str] | None:
        """(id, token) of a new session; None when too many are open. FishyError for a wrong password."""
        authenticate(self._accounts, user, password.encode())
        with self._lock:
            self._expire()
            if len(self._open) >= MOST:
                return None
            identity, token = secrets.token_hex(4), secrets.token_urlsafe(32)
            self._open[identity] = (token, user, time.monotonic())
        return identity, token

    def knows(self, token: str) -> bool:
        """Whether a token is good; its session's idle time begins anew."""
        with self._lock:
            self._expire()
            for identity, (known, user, _) in self._open.items():
                if secrets.compare_digest(known, token):
                    self._open[identity] = (known, user, time.monotonic())
                    return True
        return False

    def all(self) -> dict[str, str]:
        """User by session id."""
        with self._lock:
            self._expire()
            return {identity: user for identity, (_, user, _) in self._open.items()}

    def close(self, identity: str) -> bool:
        """End a session; False when there was none of that id."""
        with self._lock:
            return self._open.pop(identity, None) is not None

    def _expire(self) -> None:
        limit = time.monotonic() - IDLE_S
        self._open = {key: value for key, value in self._open.items() if value[2] >= limit}


class Authentication(RedfishAuthMiddleware):  # type: ignore[misc]  # sushy-tools has no types
    """Lets pass who bears a session's token or a good password; the login itself needs neither."""

    def __init__(self, app: Any, accounts: str, sessions: Sessions) -> None:
        super().__init__(app, accounts)
        self._sessions = sessions

    def __call__(self, env: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        login = env.get("REQUEST_METHOD") == "POST" and env.get("PATH_INFO", "").rstrip("/") == LOGIN
        token = env.get("HTTP_X_AUTH_TOKEN", "")
        if login or (token and self._sessions.knows(token)):
            answer: Iterable[bytes] = self.app(env, start_response)
            return answer
        return super().__call__(env, start_response)  # type: ignore[no-any-return]


__all__ = ["Authentication", "FishyError", "Sessions"]

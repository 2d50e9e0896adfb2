"""Access control: answer only requests of known users, for what the page needs, of limited size.

A user gets a signed cookie with the first page. If a token is required, only an address that ends in
``?token=…`` sets this cookie.
"""

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, unquote

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse

from d2video.app.users import Users

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_UPLOAD = "/gradio_api/upload"
_FILE = "/gradio_api/file="
# Routes that the page needs. Some of Gradio's other routes open files and URLs by name.
_ALLOWED = {
    "GET": re.compile(
        r"/|/config|/theme\.css|/favicon\.ico|/manifest\.json|/(assets|static|svelte|results)/.*|/gradio_api/("
        r"theme\.css|startup-events|app_id|info|queue/data|upload_progress|heartbeat/\w+|file=.*)"
    ),
    "POST": re.compile(r"/gradio_api/(upload|queue/join|cancel|reset)/?"),
}
_ALLOWED["HEAD"] = _ALLOWED["GET"]
_FORM = 100_000  # bytes of a request in addition to the file
# The page needs no other server, and code injected through a file name cannot reach one.
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Access:
    """ASGI middleware that sets ``scope["user"]`` of accepted requests to the user's id.

    Args:
        app: application that answers accepted requests.
        users: users, to which uploads are reported.
        token: token that the first address must contain; ``None``: none, for a server that only this machine
            reaches.
        hosts: names by which the server may be addressed; ``None``: any. Without a token they block web pages
            whose name resolves to this machine (DNS rebinding).
        upload_bytes: maximum size of a file in bytes.
    """

    def __init__(
        self,
        app: Callable[[Scope, Receive, Send], Awaitable[None]],
        *,
        users: Users,
        token: str | None,
        hosts: frozenset[str] | None,
        upload_bytes: int,
    ) -> None:
        self._app, self._users, self._token, self._hosts = app, users, token, hosts
        self._most_bytes = upload_bytes + _FORM
        # With the same token, cookies stay valid after a restart of the server.
        self._key = (token or secrets.token_urlsafe(16)).encode()
        # Servers on one machine share cookies, regardless of their ports.
        self._cookie = f"d2video_{self._sign('cookie')[:8]}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        assert scope["type"] == "http", scope["type"]

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                more = [(key.lower().encode(), value.encode()) for key, value in _HEADERS.items()]
                message["headers"] = [*message["headers"], *more]
            await send(message)

        answer = self._refusal_or_door(scope)
        if answer is not None:
            await answer(scope, receive, send_with_headers)
            return
        if scope["method"] == "POST" and scope["path"].rstrip("/") == _UPLOAD:
            # The answer is read below, so it must not be compressed.
            plain = [each for each in scope["headers"] if each[0] != b"accept-encoding"]
            scope = {**scope, "headers": plain}
            await self._app(scope, receive, self._note_uploads(scope["user"], send_with_headers))
        else:
            await self._app(scope, receive, send_with_headers)

    def _refusal_or_door(self, scope: Scope) -> PlainTextResponse | RedirectResponse | None:
        """Return the answer to give instead of the app's; None: pass the request on."""
        headers = Headers(scope=scope)
        host = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
        if self._hosts is not None and host not in self._hosts:
            return PlainTextResponse("This server is not known by that name.", 403)
        user = self._user(headers)
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        is_page = scope["path"] == "/" and scope["method"] in ("GET", "HEAD")
        if is_page and (given or (user is None and self._token is None)) and self._is_token(given):
            return self._door(user or secrets.token_urlsafe(16))
        if user is None:
            return PlainTextResponse(
                "Open the address that d2video app has printed, with its token.", 401
            )
        allowed = _ALLOWED.get(scope["method"])
        if allowed is None or not allowed.fullmatch(scope["path"]):
            return PlainTextResponse("Not found", 404)
        if scope["path"].startswith(_FILE):
            path = unquote(scope["path"].removeprefix(_FILE))
            if not self._users.owns_upload(user, path):
                return PlainTextResponse("Not found", 404)
        if scope["method"] == "POST":
            length = headers.get("content-length", "")
            if not length.isdecimal():
                return PlainTextResponse("The request must state its length.", 411)
            if int(length) > self._most_bytes:
                return PlainTextResponse("The file is larger than this page takes.", 413)
        scope["user"] = user
        return None

    def _is_token(self, given: str) -> bool:
        return self._token is None or hmac.compare_digest(given.encode(), self._token.encode())

    def _door(self, user: str) -> RedirectResponse:
        """Redirect to the page, with a cookie and without the token in the address."""
        answer = RedirectResponse("./", 303)
        value = f"{user}.{self._sign(user)}"
        answer.set_cookie(self._cookie, value, httponly=True, samesite="lax")
        return answer

    def _user(self, headers: Headers) -> str | None:
        """Return the user from a cookie that this server signed."""
        morsel = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        user, _, signature = morsel.value.partition(".") if morsel else ("", "", "")
        is_signed = hmac.compare_digest(signature.encode(), self._sign(user).encode())
        return user if user and is_signed else None

    def _sign(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()

    def _note_uploads(self, user: str, send: Send) -> Send:
        """Wrap ``send`` to read the paths from the answer to an upload, a JSON list."""
        body = bytearray()
        is_good = False

        async def noting(message: MutableMapping[str, Any]) -> None:
            nonlocal is_good
            if message["type"] == "http.response.start":
                is_good = message["status"] == 200
            elif is_good:
                body.extend(message.get("body", b""))
                if not message.get("more_body"):
                    self._users.add_uploads(user, json.loads(body))
            await send(message)

        return noting

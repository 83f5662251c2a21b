"""Who may use the page: a browser of this machine that was given its address.

A page of another site can make a browser send requests to this machine, or, with a name of its own that leads
here (DNS rebinding), read what is answered. So every request needs the token in its address, a Host header of
this machine, and where the browser names an origin, this page's.
"""

import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Of every answer: nothing is fetched from elsewhere, framed, cached by others or named to them.
HEADERS = {
    "content-security-policy": "default-src 'none'; img-src 'self' data:; script-src 'self'; "
    "style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Guard:
    """Lets a request through to `app`, as if the token were no part of its path, or answers 403.

    Args:
        app: of ASGI.
        token: the first part of the path of every request.
        port: that the server listens on at 127.0.0.1.
    """

    def __init__(self, app: App, token: str, port: int) -> None:
        self.app, self.token = app, token.encode()
        self.hosts = {f"{name}:{port}".encode() for name in ("127.0.0.1", "localhost")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            raise ValueError(f"{scope['type']} is not served")
        token, _, rest = scope["path"].removeprefix("/").partition("/")
        if not self.allows(token, scope["headers"]):
            start = {"type": "http.response.start", "status": 403}
            await send({**start, "headers": [(b"content-type", b"text/plain"), *_headers()]})
            return await send({"type": "http.response.body", "body": b"This address is not known here."})

        async def answer(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *_headers()]}
            await send(message)

        path = f"/{rest}"
        return await self.app({**scope, "path": path, "raw_path": path.encode()}, receive, answer)

    def allows(self, token: str, headers: list[tuple[bytes, bytes]]) -> bool:
        """Whether token, Host, Origin and Sec-Fetch-Site are those of the page itself.

        The token is compared in a time that does not depend on how much of it is right.
        """
        same = secrets.compare_digest(token.encode(), self.token)
        names = (b"host", b"origin", b"sec-fetch-site")
        host, origins, sites = ([value for n, value in headers if n == name] for name in names)
        if len(host) != 1 or host[0] not in self.hosts:
            return False
        own = all(origin == b"http://" + host[0] for origin in origins)
        return same and own and all(site in {b"same-origin", b"none"} for site in sites)


def _headers() -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in HEADERS.items()]

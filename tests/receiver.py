"""Somebody who wants to know: a webhook on a loopback port that checks what it gets as a stranger would."""

import base64
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks.webhooks import Webhook


@dataclass
class Receiver:
    """Answers with `answers` in turn, then with 204. `taken` holds what bore a good signature."""

    secret: str
    answers: list[int | tuple[int, dict[str, str]]] = field(default_factory=list)
    taken: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    on_request: Callable[[], None] = lambda: None
    url: str = ""

    @property
    def ids(self) -> list[str]:
        return [id_ for id_, _ in self.taken]

    def of_kind(self, kind: str) -> list[tuple[str, dict[str, Any]]]:
        return [(id_, said) for id_, said in self.taken if said["type"] == kind]

    def answer(self, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str]]:
        try:
            said = Webhook(self.secret).verify(body, headers)
        except Exception as error:  # noqa: BLE001 - whatever it is, the signature is not good
            self.refused.append(repr(error))
            return 400, {}
        self.taken.append((headers["webhook-id"], said))
        self.on_request()
        answer = self.answers.pop(0) if self.answers else 204
        return answer if isinstance(answer, tuple) else (answer, {})


def new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


@contextmanager
def receiving(secret: str) -> Iterator[Receiver]:
    receiver = Receiver(secret)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, headers = receiver.answer({name.lower(): value for name, value in self.headers.items()}, body)
            self.send_response(status)
            for name, value in ({"Content-Length": "0"} | headers).items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()

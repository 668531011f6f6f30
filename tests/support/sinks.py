"""A mail server and a webhook of our own, which keep what they are sent: where Alertmanager's messages end in tests."""

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

ACCEPTED = b"250 OK\r\n"


class MailSink(socketserver.ThreadingTCPServer):
    """Speaks as much SMTP as a client needs that has one message to deliver."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), _MailSession)
        self.messages: list[EmailMessage] = []


class _MailSession(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(b"220 sink ESMTP\r\n")
        while line := self.rfile.readline():
            word = line[:4].upper().strip()
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                self._take()
            elif word == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            self.wfile.write(ACCEPTED)

    def _take(self) -> None:
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        message = message_from_bytes(b"".join(lines), policy=policy.default)
        cast(MailSink, self.server).messages.append(message)


class WebhookSink(ThreadingHTTPServer):
    """Accepts every POST of JSON."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), _WebhookRequest)
        self.posts: list[tuple[str, dict[str, Any]]] = []

    def of(self, path: str) -> list[dict[str, Any]]:
        """The bodies that came to a path, in order."""
        return [body for where, body in self.posts if where == path]


class _WebhookRequest(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        cast(WebhookSink, self.server).posts.append((self.path, body))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: requests are kept, not logged."""


@contextmanager
def sinks(mail_port: int, webhook_port: int) -> Iterator[tuple[MailSink, WebhookSink]]:
    """Both, while the block lasts."""
    with MailSink(mail_port) as mail, WebhookSink(webhook_port) as webhook:
        threads = [threading.Thread(target=server.serve_forever, args=(0.05,)) for server in (mail, webhook)]
        for thread in threads:
            thread.start()
        try:
            yield mail, webhook
        finally:
            for server in (mail, webhook):
                server.shutdown()
            for thread in threads:
                thread.join()

"""A server on 127.0.0.1 that misbehaves as told, and a good FITS file for it to serve."""

import gzip
import http.server
import io
import socket
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from astropy.io import fits


def fits_bytes(seed: int = 1, pixels: int = 200) -> bytes:
    """A gzip-compressed FITS file whose noise does not compress away."""
    data = np.random.default_rng(seed).integers(0, 2**15, (pixels, pixels)).astype(np.int16)
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(data, name="FLUX")]).writeto(buffer)
    return gzip.compress(buffer.getvalue(), mtime=0)


CONTENT = fits_bytes()


@dataclass
class Answer:
    """How the server answers one request."""

    content: bytes = CONTENT
    tag: str | None = '"one"'
    modified: str | None = None
    status: int = 200
    headers: dict = field(default_factory=dict)
    #: Bytes of the body that are sent before the connection ends; None sends all.
    stop: int | None = None
    #: How it ends: "close" in an orderly way, "reset" abruptly, "hang" not at all.
    end: str = "close"
    ranges: bool = True
    if_range: bool = True
    length: bool = True
    pace_s: float = 0.0


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: deque[Answer] = deque([Answer()])
        self.requests: list[dict] = []
        self.released = threading.Event()

    def script(self, *answers: Answer) -> None:
        """Give these answers in turn; the last one is repeated."""
        self.answers = deque(answers)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/sas/galaxy.fits.gz"

    def handle_error(self, request, client_address) -> None:
        """Keep quiet about clients that went away."""


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        answers = self.server.answers
        answer = answers.popleft() if len(answers) > 1 else answers[0]
        self.server.requests.append(dict(self.headers))
        content, status, start = answer.content, answer.status, 0
        asked = self.headers.get("Range")
        if status == 200 and asked and answer.ranges:
            validator = answer.tag or answer.modified
            if not answer.if_range or self.headers.get("If-Range") == validator:
                start = int(asked.removeprefix("bytes=").removesuffix("-"))
                status = 206 if start < len(content) else 416
        self.send_response(status)
        body = content[start:] if status in (200, 206) else b"sorry"
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if status == 416:
            self.send_header("Content-Range", f"bytes */{len(content)}")
        if answer.length:
            self.send_header("Content-Length", str(len(body)))
        for name, value in {"ETag": answer.tag, "Last-Modified": answer.modified, **answer.headers}.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        body = body if answer.stop is None else body[: answer.stop]
        for i in range(0, len(body), 4096):
            self.wfile.write(body[i : i + 4096])
            time.sleep(answer.pace_s)
        self.wfile.flush()
        if answer.end == "hang":
            self.server.released.wait(20)
        if answer.end == "reset":
            time.sleep(0.05)  # some systems discard, on a reset, what the client has not read yet
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def log_message(self, *arguments) -> None:
        """Keep quiet."""

"""One request over a connection to a checked address, with a limit on its time and its size.

No proxy of the environment is used: through one, a name would be resolved where nobody checks it.
"""

import http.client
import socket
import ssl
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import SplitResult

from mainspring.errors import DocumentError

READ_BYTES = 1 << 16
MAX_ADDRESSES = 3
MAX_WINDOW = 47  # zlib: gzip or zlib by its head


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What a server answered; `headers` have small names."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Connection(http.client.HTTPConnection):
    """Speaks with one of `addresses` in the name of the host, which TLS is checked against."""

    def __init__(
        self, url: SplitResult, addresses: Sequence[str], timeout_s: float, tls: ssl.SSLContext | None
    ) -> None:
        port = url.port or (443 if tls else 80)
        super().__init__(url.hostname or "", port, timeout=timeout_s)
        self.addresses = addresses
        self.tls = tls
        self.is_cut = False

    def connect(self) -> None:
        fault: OSError | None = None
        for address in self.addresses[:MAX_ADDRESSES]:
            try:
                self.sock = socket.create_connection((address, self.port), self.timeout)
                break
            except OSError as error:
                fault = error
        else:
            raise fault or OSError("no address")
        if self.tls:
            self.sock = self.tls.wrap_socket(
                self.sock, server_hostname=self.host, do_handshake_on_connect=False
            )
            self.sock.do_handshake()
        if self.is_cut:
            raise TimeoutError

    def cut(self) -> None:
        """End the connection from another thread."""
        self.is_cut = True
        try:
            if self.sock:
                self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it has ended by itself


def request(
    url: SplitResult, addresses: Sequence[str], *, headers: Mapping[str, str], timeout_s: float, max_bytes: int,
    tls: ssl.SSLContext | None = None,
) -> Response:  # fmt: skip
    """GET a URL from one of `addresses`.

    Raises:
        DocumentError: it takes too long, has too many bytes, or is broken off.

    """
    if url.scheme == "https":
        tls = tls or ssl.create_default_context()
    connection = _Connection(url, addresses, timeout_s, tls if url.scheme == "https" else None)
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    with _limited(connection, timeout_s) as is_late:
        try:
            connection.request("GET", target, headers=dict(headers))
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            body = _body(response, found, max_bytes)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if is_late.is_set():
                raise DocumentError(f"it took more than {timeout_s:g} s") from None
            raise DocumentError(f"it cannot be fetched ({error or type(error).__name__})") from error
        if is_late.is_set():
            raise DocumentError(f"it took more than {timeout_s:g} s")
    return Response(status=response.status, headers=found, body=body)


@contextmanager
def _limited(connection: _Connection, timeout_s: float) -> Iterator[threading.Event]:
    """A connection that is cut after `timeout_s`, however slowly but steadily it goes on until then."""
    is_late = threading.Event()

    def end() -> None:
        is_late.set()
        connection.cut()

    timer = threading.Timer(timeout_s, end)
    timer.daemon = True
    timer.start()
    try:
        yield is_late
    finally:
        timer.cancel()
        connection.close()


def _body(response: http.client.HTTPResponse, headers: Mapping[str, str], max_bytes: int) -> bytes:
    """The body, unpacked; no more than `max_bytes` of it are ever in memory, packed or not."""
    told = headers.get("content-length", "")
    length = int(told) if told.isdigit() else None
    if length is not None and length > max_bytes:
        raise _too_large(max_bytes)
    coding = headers.get("content-encoding", "identity").strip().lower() or "identity"
    if coding not in ("identity", "gzip", "x-gzip", "deflate"):
        raise DocumentError(f"it is packed as '{coding}', which was not asked for")
    unpacker = None if coding == "identity" else Unpacker(max_bytes)
    parts: list[bytes] = []
    num_raw = num_bytes = 0
    while data := response.read(READ_BYTES):
        num_raw += len(data)
        parts.append(unpacker.feed(data) if unpacker else data)
        num_bytes += len(parts[-1])
        if num_bytes > max_bytes or num_raw > max_bytes:
            raise _too_large(max_bytes)
    if length is not None and num_raw != length and response.chunked is False:
        raise DocumentError(f"it broke off after {num_raw:,} of {length:,} bytes")
    if unpacker and num_raw and not unpacker.is_whole():
        raise DocumentError("it broke off before its packing ended")
    return b"".join(parts)


class Unpacker:
    """gzip and zlib, never more than `max_bytes` at a time: a small bomb stays small."""

    def __init__(self, max_bytes: int) -> None:
        self.left = max_bytes
        self.max_bytes = max_bytes
        self.stream = zlib.decompressobj(MAX_WINDOW)

    def feed(self, data: bytes) -> bytes:
        """What comes out of some more bytes.

        Raises:
            DocumentError: too much, or not packed as it says.

        """
        parts: list[bytes] = []
        while data:
            if self.stream.eof:  # gzip lets one follow the other
                self.stream = zlib.decompressobj(MAX_WINDOW)
            try:
                parts.append(self.stream.decompress(data, self.left + 1))
            except zlib.error as error:
                raise DocumentError(f"it is not packed as it says ({error})") from error
            self.left -= len(parts[-1])
            if self.left < 0:
                raise _too_large(self.max_bytes)
            data = self.stream.unused_data if self.stream.eof else self.stream.unconsumed_tail
        return b"".join(parts)

    def is_whole(self) -> bool:
        return self.stream.eof


def _too_large(max_bytes: int) -> DocumentError:
    return DocumentError(f"it has more than {max_bytes:,} bytes, the limit `max_bytes`")

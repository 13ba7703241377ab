"""The server process: a socket that says when it is ready, and an end that lets streams finish."""

import contextlib
import errno
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from mainspring.errors import ConfigError
from mainspring.progress import say
from mainspring.serve.limits import Connection, Limits

GRACE_S = 10
MAX_PORT = 65535
MAX_FILES = 65_536


def serve(
    app: Starlette, host: str, port: int, *, prepare: Callable[[], object], tls: tuple[Path, Path] | None
) -> None:
    """Serve until SIGINT or SIGTERM, then let what is in flight finish, for GRACE_S at most.

    `prepare` loads what requests need; called with the port held, so that one in use is refused first. `tls` is
    the files of a certificate and of its key.

    Raises:
        ConfigError: a port in use or not allowed, a host that strangers reach without a key.

    """
    with open_socket(app, host, port) as listener:
        prepare()
        server = _Server(configure(app, tls))
        server.config.load()  # so that a certificate that does not read is found before anything is said
        url = url_of(host, listener, tls)
        with server.capture_signals():  # until the batches have stopped as well
            app.state.batches.start()
            try:
                say(f"ready  {url}  (the page; the API is {url}/v1; Ctrl+C stops it)")
                server.run(sockets=[listener])
            finally:
                app.state.batches.stop()


def open_socket(app: Starlette, host: str, port: int) -> socket.socket:
    """A bound socket; port 0 takes a free one, and ConfigError is raised as serve says."""
    app.state.keys.check_host(host)
    _allow_many_files()
    if not 0 <= port <= MAX_PORT:
        raise ConfigError(f"`--port` is {port}; it must be between 0 and {MAX_PORT} (0 takes a free one).")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise ConfigError(
            f"`--host {host} --port {port}` is not an address of this machine: {error}."
        ) from error
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        # now: another server may bind a port on which nobody listens yet, and who comes early waits
        listener.listen()
    except OSError as error:
        listener.close()
        raise ConfigError(_explain(host, port, error)) from error
    return listener


def _allow_many_files() -> None:
    """A connection is a file: take as many as the machine gives."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(MAX_FILES, hard) if hard != resource.RLIM_INFINITY else MAX_FILES
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def url_of(host: str, listener: socket.socket, tls: tuple[Path, Path] | None) -> str:
    name = f"[{host}]" if ":" in host else host
    return f"{'https' if tls else 'http'}://{name}:{listener.getsockname()[1]}"


def configure(app: Starlette, tls: tuple[Path, Path] | None) -> uvicorn.Config:
    """How uvicorn serves the application: quietly, and within its limits."""
    limits: Limits = app.state.limits
    return uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        timeout_graceful_shutdown=GRACE_S,
        http=type("Connection", (Connection,), {"limits": limits}),
        h11_max_incomplete_event_size=limits.header_bytes,
        ssl_certfile=tls and tls[0],
        ssl_keyfile=tls and tls[1],
    )


class _Server(uvicorn.Server):
    """uvicorn, which would raise a signal again once it has stopped; the caller still has a workspace to close."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {
            number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _explain(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is in use. Stop the server that has it, or choose another with --port."
    if error.errno == errno.EACCES:
        return f"Port {port} needs rights that this user does not have. Choose one from 1024 up with --port."
    return (
        f"`--host {host} --port {port}` cannot be served on: {error}. Choose others with --host and --port."
    )

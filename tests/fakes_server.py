"""A real server in this process, for as long as a test needs it."""

import contextlib
import threading

import uvicorn

from mainspring.serve import run


@contextlib.contextmanager
def in_background(app, host="127.0.0.1", port=0, tls=None):
    """Serve from another thread while the block runs; yields the URL."""
    with run.open_socket(app, host, port) as listener:
        server = uvicorn.Server(run.configure(app, tls))  # who comes before it accepts waits in the socket
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        app.state.batches.start()
        try:
            yield run.url_of(host, listener, tls)
        finally:
            app.state.batches.stop()
            server.should_exit = True
            thread.join()

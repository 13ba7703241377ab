r"""Batches: a file of requests, worked through in the background, every result written once.

validating -> in_progress -> finalizing -> completed
          \-> failed     \-> expired, cancelling -> cancelled, failed   (with what was done until then)

Every result is a row before it is a line of a file, so a stopped process goes on where it was: lines without a
row run again, lines with one do not.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from mainspring.errors import MainspringError, NotFoundError
from mainspring.gateway.drawer import Drawer
from mainspring.gateway.exchange import PRIORITY

KIND = "batch"
NUM_AT_ONCE = 16
MAX_LINES = 50_000
MAX_FAULTS = 100
WINDOW_S = 86_400
RETRY_S = 1.0
PAUSE_S = 10.0  # after a failure of the database itself, which may pass
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
LATER = 429  # there was no room: the line is tried again until the batch expires

Row = dict[str, Any]
logger = logging.getLogger(__name__)


class Answered(msgspec.Struct, frozen=True):
    """What an endpoint answered: its status, the id of the request, the JSON."""

    status: int
    request: str
    body: msgspec.Raw


class Line(msgspec.Struct, frozen=True):
    """A line of a batch's file."""

    custom_id: str
    method: str
    url: str
    body: dict[str, Any]


class Batches:
    """Works through batches one after the other, in a thread with a loop of its own.

    `call` sends a body to an endpoint as a client would; it is awaited in that loop.
    """

    def __init__(self, drawer: Drawer, call: Callable[[str, bytes], Awaitable[Answered]]) -> None:
        self._drawer, self._call = drawer, call
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._work: asyncio.Task[None] | None = None
        self._woken = threading.Event()
        self._cancelling: set[str] = set()

    def start(self) -> None:
        """Begin, with what an earlier process left undone."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="batches", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Leave off at once; what is under way runs again at the next start."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._woken.set()
        while self._loop is None and thread.is_alive():
            time.sleep(0.001)
        if self._loop is not None and self._work is not None:
            try:
                self._loop.call_soon_threadsafe(self._work.cancel)
            except RuntimeError:  # the loop has ended by itself
                pass
        thread.join()
        self._loop = self._work = None

    def submit(self, batch: Row, tenant: str) -> None:
        """Keep a batch and work on it when those before it are done."""
        self._drawer.put(KIND, batch["id"], batch, tenant=tenant)
        self._woken.set()

    def cancel(self, identity: str, tenant: str) -> Row:
        """Stop a batch; its results so far are kept."""

        def change(batch: Row) -> None:
            if batch["status"] not in ENDED | {"finalizing"}:
                batch.update(status="cancelling", cancelling_at=int(time.time()))

        batch = self._drawer.change(KIND, identity, tenant, change)
        if batch["status"] == "cancelling":
            self._cancelling.add(identity)
            self._woken.set()
        return batch

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except asyncio.CancelledError:
            pass

    async def _main(self) -> None:
        self._work, self._loop = asyncio.current_task(), asyncio.get_running_loop()
        while self._thread is threading.current_thread():
            self._woken.clear()
            try:
                await self._next()
            except Exception:
                logger.exception("The batches cannot be worked on; trying again in %g s", PAUSE_S)
                await asyncio.sleep(PAUSE_S)

    async def _next(self) -> None:
        """The batch whose turn it is, or sleep until there is one."""
        rows = await asyncio.to_thread(self._drawer.everyones, KIND)
        waiting = [(tenant, row) for tenant, row in rows if row["status"] not in ENDED]
        if not waiting:
            await asyncio.to_thread(self._woken.wait)
            return
        tenant, batch = waiting[0]
        job = _Job(self._drawer, self._call, batch, tenant, self._cancelling)
        try:
            await job.run()
        except Exception as error:  # whatever it is, the batches behind it are not to blame
            logger.exception("The batch %s failed", batch["id"])
            await job.fail(error)
        finally:
            self._cancelling.discard(batch["id"])


class _Job:
    """One batch being worked on."""

    def __init__(
        self,
        drawer: Drawer,
        call: Callable[[str, bytes], Awaitable[Answered]],
        batch: Row,
        tenant: str,
        cancelling: set[str],
    ) -> None:
        self._drawer, self._call, self._batch, self._tenant = drawer, call, batch, tenant
        self._cancelling = cancelling
        self._id: str = batch["id"]

    async def run(self) -> None:
        lines, faults = await asyncio.to_thread(self._validate)
        if faults:
            await self._fail(faults)
            return
        if self._batch["status"] == "validating":
            counts = {"total": len(lines), "completed": 0, "failed": 0}
            await self._set(status="in_progress", in_progress_at=_now(), request_counts=counts)
        await self._work_through(lines)
        await asyncio.to_thread(self._finish, lines)

    async def fail(self, error: Exception) -> None:
        """End it for a failure that is none of its lines'; a stranger's text is never shown."""
        said = str(error) if isinstance(error, MainspringError) else "The server's log says where."
        message = f"The server failed on this batch. {said} Send the requests without a result as another."
        await self._fail([_fault("server_error", message, None)])

    async def _fail(self, faults: list[Row]) -> None:
        fields = {"status": "failed", "failed_at": _now(), "errors": {"object": "list", "data": faults}}
        try:
            written = _written(await asyncio.to_thread(self._drawer.lines, self._id))
            fields |= await asyncio.to_thread(self._files, written, self._batch["request_counts"]["total"])
        except Exception:  # it must end all the same, or it would be begun for ever
            logger.exception("The results of the batch %s cannot be written", self._id)
        await self._set(**fields)
        await asyncio.to_thread(self._drawer.drop_lines, self._id)

    def _validate(self) -> tuple[list[Line], list[Row]]:
        """The lines of the batch's file, and what is wrong with them."""
        try:
            self._drawer.get("file", self._batch["input_file_id"], self._tenant)
            texts = self._drawer.path(self._batch["input_file_id"]).read_bytes().splitlines()
        except (NotFoundError, OSError):
            return [], [_fault("missing_file", "The input file is not there any more.", None)]
        lines: list[Line] = []
        faults: list[Row] = []
        seen: set[str] = set()
        for number, text in enumerate(texts, 1):
            if not text.strip():
                continue
            try:
                line = msgspec.json.decode(text, type=Line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                faults.append(_fault("invalid_json_line", f"{error}. Each line is one request.", number))
                continue
            lines.append(line)
            faults += self._faults(line, number, seen)
            seen.add(line.custom_id)
        if not lines and not faults:
            faults = [_fault("empty_file", "The input file holds no request.", None)]
        if len(lines) > MAX_LINES:
            faults = [_fault("too_many_tasks", f"{len(lines):,} requests; {MAX_LINES:,} is the most.", None)]
        return lines, faults[:MAX_FAULTS]

    def _faults(self, line: Line, number: int, seen: set[str]) -> list[Row]:
        endpoint = self._batch["endpoint"]
        wrong = {
            "duplicate_custom_id": line.custom_id in seen
            and f"`custom_id` '{line.custom_id}' is there already.",
            "invalid_method": line.method != "POST" and f"`method` is '{line.method}'; it must be POST.",
            "mismatched_url": line.url != endpoint and f"`url` is '{line.url}'; the batch's is '{endpoint}'.",
            "unsupported_stream": bool(line.body.get("stream"))
            and "`stream` is true; a batch has whole answers.",
            "unsupported_background": bool(line.body.get("background"))
            and "`background` is true; all of a batch is done in the background.",
        }
        return [_fault(code, said, number) for code, said in wrong.items() if said]

    async def _work_through(self, lines: list[Line]) -> None:
        """Run the lines that have no result, some at once, until all have or the batch ends before."""
        done = {number for number, _, _ in await asyncio.to_thread(self._drawer.lines, self._id)}
        left = iter([(number, line) for number, line in enumerate(lines) if number not in done])
        running: set[asyncio.Task[None]] = set()
        try:
            while not self._is_over():
                while len(running) < NUM_AT_ONCE and (one := next(left, None)) is not None:
                    running.add(asyncio.create_task(self._line(*one)))
                if not running:
                    return
                ended, running = await asyncio.wait(running, timeout=0.2, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    task.result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _is_over(self) -> bool:
        return self._id in self._cancelling or self._batch["status"] == "cancelling" or self._has_expired()

    def _has_expired(self) -> bool:
        return time.time() > self._batch["expires_at"]

    async def _line(self, number: int, line: Line) -> None:
        PRIORITY.set(-1)  # in this task alone: behind those who wait for their answers
        while True:
            answered = await self._call(line.url, msgspec.json.encode(line.body))
            if answered.status != LATER:
                break
            await asyncio.sleep(RETRY_S)
        response = {"status_code": answered.status, "request_id": answered.request, "body": answered.body}
        row = {**self._result(number, line), "response": response, "error": None}
        await asyncio.to_thread(self._drawer.put_line, self._id, number, row, is_error=answered.status >= 400)

    def _result(self, number: int, line: Line) -> Row:
        return {"id": f"{self._id}_{number}", "custom_id": line.custom_id}

    def _finish(self, lines: list[Line]) -> None:
        """Write the files and say how it ended; done again from its beginning where it was cut short."""
        batch = self._drawer.get(KIND, self._id, self._tenant)
        status = "cancelled" if batch["status"] == "cancelling" else "completed"
        rows = self._drawer.lines(self._id)
        done, written = {number for number, _, _ in rows}, _written(rows)
        if len(done) < len(lines) and status == "completed":
            status = "expired"
            late = {"code": "batch_expired", "message": "The batch expired before this request was run."}
            written[True] += [
                msgspec.json.encode({**self._result(number, line), "response": None, "error": late})
                for number, line in enumerate(lines)
                if number not in done
            ]
        self._change(status="finalizing", finalizing_at=_now())
        self._change(status=status, **{f"{status}_at": _now()}, **self._files(written, len(lines)))
        self._drawer.drop_lines(self._id)

    def _files(self, written: dict[bool, list[bytes]], total: int) -> Row:
        """Write the results; the fields of the batch that say so."""
        return {
            "request_counts": {
                "total": total, "completed": len(written[False]), "failed": len(written[True])
            },
            "output_file_id": self._file("output", written[False]),
            "error_file_id": self._file("error", written[True]),
        }  # fmt: skip

    def _file(self, kind: str, lines: list[bytes]) -> str | None:
        if not lines:
            return None
        identity, content = f"file-{self._id}-{kind}", b"".join(line + b"\n" for line in lines)
        after = self._batch.get("output_expires_after_s")
        expires = None if after is None else time.time() + after
        self._drawer.write_file(identity, content)
        row = file_row(identity, f"{self._id}_{kind}.jsonl", "batch_output", len(content), expires)
        self._drawer.put("file", identity, row, tenant=self._tenant, expires=expires)
        return identity

    async def _set(self, **fields: Any) -> None:
        await asyncio.to_thread(self._change, **fields)

    def _change(self, **fields: Any) -> None:
        def change(batch: Row) -> None:
            if batch["status"] != "cancelling" or fields["status"] != "in_progress":
                batch.update(fields)

        self._batch = self._drawer.change(KIND, self._id, self._tenant, change)


def _written(rows: list[tuple[int, bool, bytes]]) -> dict[bool, list[bytes]]:
    """Results as lines of a file, by whether they are errors."""
    return {kind: [data for _, is_error, data in rows if is_error is kind] for kind in (True, False)}


def new_batch(identity: str, endpoint: str, file: str, metadata: Row | None, keep_s: int | None) -> Row:
    """A batch as it is made and shown."""
    times = (
        "in_progress_at", "finalizing_at", "completed_at", "failed_at", "expired_at", "cancelling_at", "cancelled_at"
    )  # fmt: skip
    return {
        "id": identity, "object": "batch", "endpoint": endpoint, "errors": None, "input_file_id": file,
        "completion_window": "24h", "status": "validating", "output_file_id": None, "error_file_id": None,
        "created_at": _now(), "expires_at": _now() + WINDOW_S, **dict.fromkeys(times), "metadata": metadata,
        "request_counts": {"total": 0, "completed": 0, "failed": 0}, "output_expires_after_s": keep_s,
    }  # fmt: skip


def file_row(identity: str, name: str, purpose: str, size: int, expires: float | None) -> Row:
    """A file as it is shown."""
    return {
        "id": identity, "object": "file", "bytes": size, "created_at": _now(), "filename": name,
        "purpose": purpose, "status": "processed", "status_details": None,
        "expires_at": None if expires is None else int(expires),
    }  # fmt: skip


def _fault(code: str, message: str, line: int | None) -> Row:
    return {"code": code, "message": message, "param": None, "line": line}


def _now() -> int:
    return int(time.time())

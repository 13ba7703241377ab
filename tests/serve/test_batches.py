"""Files and batches: every result once, whatever stops in between."""

import json
import threading
import time

import httpx2
import openai
import pytest
from starlette.testclient import TestClient

from fakes_model import House, Shelf
from fakes_server import in_background
from fakes_text import SpokenModel
from mainspring.errors import BusyError
from mainspring.gateway import batches

CHAT = "/v1/chat/completions"


def line(number, **body):
    whole = {"model": "gpt", "messages": [{"role": "user", "content": f"number {number}"}], **body}
    return {"custom_id": f"r{number}", "method": "POST", "url": CHAT, "body": whole}


def submit(client, lines, endpoint=CHAT, **more):
    content = "\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines).encode()
    file = client.files.create(file=("in.jsonl", content), purpose="batch")
    return client.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h", **more)


def wait_for(client, batch, *statuses, timeout_s=20):
    end = time.monotonic() + timeout_s
    while (now := client.batches.retrieve(batch.id)).status not in statuses:
        assert time.monotonic() < end, now.status
        time.sleep(0.02)
    return now


def rows(client, file):
    return [json.loads(text) for text in client.files.content(file).text.splitlines()]


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_who_deletes_the_files_it_lists_comes_to_the_end_of_them(ai, order):
    for _ in range(7):
        ai.files.create(file=b"x", purpose="batch")
    for file in ai.files.list(limit=2, order=order):
        ai.files.delete(file.id)
    assert list(ai.files.list()) == []


def test_a_file_is_kept_listed_read_and_deleted(ai, spoken):
    content = b"\x00\r\n--x\r\n" * 1000
    file = ai.files.create(
        file=("a b.bin", content),
        purpose="user_data",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    assert (file.bytes, file.filename, file.status) == (len(content), "a b.bin", "processed")
    assert file.expires_at == pytest.approx(time.time() + 3600, abs=5)
    assert ai.files.content(file.id).content == content
    assert ai.files.retrieve(file.id) == file
    others = [ai.files.create(file=b"x", purpose="batch").id for _ in range(3)]
    assert [one.id for one in ai.files.list(limit=2)] == [*others[::-1], file.id]
    assert [one.id for one in ai.files.list(purpose="user_data", order="asc")] == [file.id]
    ai.files.delete(file.id)
    with pytest.raises(openai.NotFoundError, match="There is no file"):
        ai.files.content(file.id)
    assert not spoken.drawer.path(file.id).exists()
    with pytest.raises(openai.BadRequestError, match="`purpose` is 'fun'"):
        ai.files.create(file=b"x", purpose="fun")


@pytest.mark.parametrize("name", ['"file"', "file"])
@pytest.mark.parametrize("kind", ["multipart/form-data; boundary", "Multipart/Form-Data; Boundary"])
def test_a_form_is_read_as_its_standards_allow(spoken_url, kind, name):
    fields = {f'{name}; filename="a;b.txt"': "content", "purpose": "batch"}
    parts = [
        f"--x\r\nContent-Disposition: form-data; name={key}\r\n\r\n{text}\r\n" for key, text in fields.items()
    ]
    answer = httpx2.post(
        f"{spoken_url}/v1/files", content="".join([*parts, "--x--"]), headers={"content-type": f"{kind}=x"}
    )
    assert (answer.json()["filename"], answer.json()["bytes"]) == ("a;b.txt", len("content"))


@pytest.mark.parametrize("step", ["drawer.Drawer.put", "drawer.os.fsync"])
def test_a_file_that_could_not_be_kept_leaves_nothing_on_the_disk(spoken, monkeypatch, step):
    def fail(*given, **more):
        raise OSError("full")

    monkeypatch.setattr(f"mainspring.gateway.{step}", fail)
    door = TestClient(spoken.app, base_url="http://127.0.0.1", raise_server_exceptions=False)
    answer = door.post("/v1/files", files={"file": b"x"}, data={"purpose": "batch"})
    assert answer.status_code == 500
    assert list(spoken.drawer.path("x").parent.iterdir()) == []


def test_a_batch_is_answered_line_by_line(ai, spoken):
    batch = submit(ai, [line(1), line(2, model="nothing"), "", line(3, n=2)], metadata={"a": "b"})
    assert (batch.status, batch.metadata) == ("validating", {"a": "b"})
    done = wait_for(ai, batch, "completed")
    counts = done.request_counts
    assert (counts.total, counts.completed, counts.failed) == (3, 2, 1)
    good = {row["custom_id"]: row["response"] for row in rows(ai, done.output_file_id)}
    assert set(good) == {"r1", "r3"}
    assert good["r1"]["body"]["choices"][0]["message"]["content"] == "The sky is blue."
    assert good["r1"]["request_id"] == good["r1"]["body"]["id"]
    assert len(good["r3"]["body"]["choices"]) == 2
    [bad] = rows(ai, done.error_file_id)
    assert (bad["custom_id"], bad["response"]["status_code"]) == ("r2", 404)
    assert spoken.shelf.models["gpt"].runs[0].ask.priority == -1
    assert [one.id for one in ai.batches.list()] == [batch.id]


def test_other_endpoints_take_batches_too(ai):
    one = {
        "custom_id": "a",
        "method": "POST",
        "url": "/v1/embeddings",
        "body": {"model": "bytes", "input": "x"},
    }
    done = wait_for(ai, submit(ai, [one], "/v1/embeddings"), "completed")
    assert rows(ai, done.output_file_id)[0]["response"]["body"]["data"][0]["index"] == 0


def test_a_file_that_is_no_batch_fails_with_the_places_of_its_faults(ai):
    other = {**line(4), "url": "/v1/embeddings"}
    batch = submit(
        ai,
        [
            line(1),
            "{",
            line(1),
            line(3, stream=True),
            other,
            {**line(5), "method": "GET"},
            line(6, background=True),
        ],
    )
    failed = wait_for(ai, batch, "failed")
    assert [(fault.line, fault.code) for fault in failed.errors.data] == [
        (2, "invalid_json_line"), (3, "duplicate_custom_id"), (4, "unsupported_stream"), (5, "mismatched_url"),
        (6, "invalid_method"), (7, "unsupported_background"),
    ]  # fmt: skip
    assert wait_for(ai, submit(ai, [""]), "failed").errors.data[0].code == "empty_file"
    with pytest.raises(openai.NotFoundError, match="There is no file"):
        ai.batches.create(input_file_id="file-x", endpoint=CHAT, completion_window="24h")


def test_a_cancelled_batch_keeps_what_was_done(ai, spoken):
    batch = submit(ai, [line(1), *(line(number, model="slow") for number in range(2, 40))])
    wait_for(ai, batch, "in_progress")
    slow = spoken.shelf.models["slow"]
    end = time.monotonic() + 10
    while not slow.runs or ai.batches.retrieve(batch.id).request_counts.completed < 1:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert ai.batches.cancel(batch.id).status == "cancelling"
    done = wait_for(ai, batch, "cancelled")
    assert [row["custom_id"] for row in rows(ai, done.output_file_id)] == ["r1"]
    assert all(run.done.wait(5) and run.is_cancelled for run in slow.runs)


def test_what_is_not_done_in_time_expires(ai, monkeypatch):
    monkeypatch.setattr(batches, "WINDOW_S", 3)
    done = wait_for(ai, submit(ai, [line(1), line(2, model="slow")]), "expired")
    assert [row["custom_id"] for row in rows(ai, done.output_file_id)] == ["r1"]
    assert rows(ai, done.error_file_id)[0]["error"]["code"] == "batch_expired"


def test_a_line_without_room_is_tried_again(ai, spoken, monkeypatch):
    from mainspring.errors import OverloadedError

    monkeypatch.setattr(batches, "RETRY_S", 0.01)
    refusals = iter([OverloadedError("full"), OverloadedError("full")])
    begin = spoken.shelf.models["gpt"]._begin

    def crowded(*given):
        error = next(refusals, None)
        if error:
            raise error
        return begin(*given)

    monkeypatch.setattr(spoken.shelf.models["gpt"], "_begin", crowded)
    done = wait_for(ai, submit(ai, [line(1)]), "completed")
    assert done.request_counts.completed == 1


def test_a_line_that_the_server_fails_on_is_a_failed_line(ai, spoken, monkeypatch, caplog):
    model = spoken.shelf.models["gpt"]
    begin = model.start

    def start(messages, *given, **more):
        if messages[-1].content == "number 2":
            raise RuntimeError("a bug")
        return begin(messages, *given, **more)

    monkeypatch.setattr(model, "start", start)
    done = wait_for(ai, submit(ai, [line(1), line(2), line(3)]), "completed", timeout_s=5)
    assert (done.request_counts.completed, done.request_counts.failed) == (2, 1)
    [bad] = rows(ai, done.error_file_id)
    assert (bad["custom_id"], bad["response"]["status_code"]) == ("r2", 500)
    assert bad["response"]["body"]["error"]["type"] == "server_error"
    [logged] = [each for each in caplog.records if each.name == "mainspring.serve.files"]
    assert bad["response"]["request_id"] in logged.getMessage()
    assert logged.exc_info[0] is RuntimeError
    assert wait_for(ai, submit(ai, [line(4)]), "completed", timeout_s=5).request_counts.completed == 1


@pytest.mark.parametrize(
    ("error", "said"),
    [(ValueError("a secret"), "The server's log says where."), (BusyError("It is busy."), "It is busy.")],
)
def test_a_batch_that_the_server_fails_on_keeps_its_results_and_the_next_is_served(
    ai, spoken, monkeypatch, error, said
):
    put = spoken.drawer.put_line

    def put_line(batch, number, data, **more):
        if data["custom_id"] == "r2":
            while not spoken.drawer.lines(batch):
                time.sleep(0.01)
            raise error
        put(batch, number, data, **more)

    monkeypatch.setattr(spoken.drawer, "put_line", put_line)
    batch = submit(ai, [line(1), line(2)])
    later = submit(ai, [line(3)])
    failed = wait_for(ai, batch, "failed", timeout_s=5)
    assert failed.errors.data[0].message == (
        f"The server failed on this batch. {said} Send the requests without a result as another."
    )
    assert (failed.request_counts.total, failed.request_counts.completed) == (2, 1)
    assert [row["custom_id"] for row in rows(ai, failed.output_file_id)] == ["r1"]
    assert wait_for(ai, later, "completed", timeout_s=5).request_counts.completed == 1
    assert spoken.drawer.lines(batch.id) == []


def test_the_worker_outlives_a_failure_of_the_disk(ai, spoken, monkeypatch, caplog):
    monkeypatch.setattr(batches, "PAUSE_S", 0.01)
    write = spoken.drawer.write_file

    def write_file(identity, content):
        if identity.endswith("-output"):
            raise OSError("full")
        write(identity, content)

    monkeypatch.setattr(spoken.drawer, "write_file", write_file)
    batch = submit(ai, [line(1)])
    assert wait_for(ai, batch, "failed", timeout_s=5).errors.data[0].code == "server_error"
    monkeypatch.setattr(spoken.drawer, "write_file", write)
    everyones = spoken.drawer.everyones
    refusals = iter([OSError("gone")] * 3)

    def all_of(kind):
        error = next(refusals, None)
        if error:
            raise error
        return everyones(kind)

    monkeypatch.setattr(spoken.drawer, "everyones", all_of)
    assert wait_for(ai, submit(ai, [line(2)]), "completed", timeout_s=5).request_counts.completed == 1
    assert "trying again" in caplog.text


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        (CHAT, {"messages": [{"role": "user", "content": "x"}]}),
        ("/v1/completions", {"prompt": "x"}),
        ("/v1/responses", {"input": "x"}),
        ("/v1/messages", {"messages": [{"role": "user", "content": "x"}], "max_tokens": 9}),
    ],
)
def test_batches_stand_behind_those_who_wait_whatever_the_endpoint(ai, spoken, endpoint, body):
    one = {"custom_id": "a", "method": "POST", "url": endpoint, "body": {"model": "gpt", **body}}
    done = wait_for(ai, submit(ai, [one], endpoint), "completed")
    assert done.request_counts.completed == 1
    ai.chat.completions.create(model="gpt", messages=[{"role": "user", "content": "x"}])
    assert [run.ask.priority for run in spoken.shelf.models["gpt"].runs] == [-1, 0]


def test_priorities_within_a_batch_are_kept(ai, spoken):
    wait_for(ai, submit(ai, [line(1, priority=3), line(2, priority=-3)]), "completed")
    assert sorted(run.ask.priority for run in spoken.shelf.models["gpt"].runs) == [-4, 2]


def test_the_content_of_an_expired_file_leaves_the_disk(ai, spoken, monkeypatch):
    old = ai.files.create(
        file=b"old", purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    kept = ai.files.create(file=b"kept", purpose="batch")
    assert spoken.drawer.path(old.id).exists()
    now = time.time()
    monkeypatch.setattr("mainspring.gateway.drawer.time.time", lambda: now + 3601)
    ai.files.create(file=b"another", purpose="batch")
    assert not spoken.drawer.path(old.id).exists()
    assert ai.files.content(kept.id).content == b"kept"


def test_a_file_that_is_written_again_after_it_expired_keeps_its_new_content(spoken):
    for content in (b"old", b"new"):
        spoken.drawer.write_file("file-a", content)
        spoken.drawer.put("file", "file-a", {}, tenant="local", expires=time.time() - 1)
    assert spoken.drawer.path("file-a").read_bytes() == b"new"


@pytest.mark.slow
def test_a_batch_goes_on_after_a_restart_and_writes_every_result_once(tmp_path):
    model = SpokenModel("gpt", "a b c", step_s=0.05)
    asked, lock = [], threading.Lock()
    start = model.start

    def counting(messages, *rest, **more):
        with lock:
            asked.append(messages[-1].content)
        return start(messages, *rest, **more)

    model.start = counting
    count, batch = 400, None
    for attempt in range(4):
        house = House(tmp_path, Shelf([model]))
        with in_background(house.app) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client:
            if batch is None:
                batch = submit(client, [line(number) for number in range(count)])
            if attempt < 3:
                before = client.batches.retrieve(batch.id).request_counts.completed
                assert before + 10 < count
                while client.batches.retrieve(batch.id).request_counts.completed < before + 10:
                    time.sleep(0.01)
            else:
                done = wait_for(client, batch, "completed")
                results = rows(client, done.output_file_id)
        house.log.close()
        house.database.close()
    assert sorted(row["custom_id"] for row in results) == sorted(f"r{number}" for number in range(count))
    assert done.error_file_id is None
    # Only what was under way at a stop ran twice.
    assert count <= len(asked) <= count + 3 * batches.NUM_AT_ONCE
    assert set(asked) == {f"number {number}" for number in range(count)}

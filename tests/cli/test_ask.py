"""Questions to a workspace, with tiny models: what is said, traced and refused."""

import json
import shutil

import pytest

from mainspring.cli.ask import marked
from mainspring.schema import Answer, Citation

pytestmark = pytest.mark.slow


@pytest.fixture
def indexed(run, root, documents):
    assert run("index", documents, "--workspace", root)[0] == 0
    return root


def citation(number, start, end):
    return Citation(
        number=number, document="d", title="D", chunk="c", start=0, end=1, quote="q", sentence_start=start,
        sentence_end=end, support=1.0,
    )  # fmt: skip


def test_marks_stand_behind_their_sentences():
    answer = Answer(text="One. Two.", kind="generated", citations=(citation(1, 0, 4), citation(2, 5, 9)))
    assert marked(answer) == "One. [1] Two. [2]"


def test_an_answer_can_be_traced(run, indexed):
    code, out, error = run("ask", "What was built?", "--workspace", indexed, "--json")
    assert not error.startswith("error"), error
    said = json.loads(out)
    assert code == 0
    assert said["answer"]["kind"] in ("generated", "extracted", "abstained")
    assert said["answer"]["assistant"] == "assistant/mainspring@1"
    latest = json.loads(run("trace", "--workspace", indexed, "--json")[1])["requests"]
    assert [(row["request"], row["kind"]) for row in latest] == [(said["request"], said["answer"]["kind"])]
    code, out, _ = run("trace", said["request"], "--workspace", indexed)
    assert code == 0
    assert said["text"] in out


def test_the_plain_model_is_traced_with_its_ids(run, indexed):
    said = json.loads(run("ask", "Who?", "--model", "smollm2", "--workspace", indexed, "--json")[1])
    _, counted, _ = run("trace", said["request"], "--workspace", indexed)
    _, listed, _ = run("trace", said["request"], "--ids", "--workspace", indexed)
    assert f"{said['usage']['prompt_tokens']} ids" in counted
    assert (
        len(listed.partition("mainspring.prompt.ids\n")[2].splitlines()[0].split())
        == (said["usage"]["prompt_tokens"])
    )


def test_people_are_told_the_kind_the_request_and_what_comes_next(run, indexed):
    code, out, _ = run("ask", "What was built?", "--workspace", indexed)
    assert code == 0
    assert "request req-" in out
    assert "next  mainspring trace req-" in out


def test_where_nothing_is_there_the_way_is_named(run, root, tmp_path):
    code, out, error = run("ask", "Who?", "--workspace", root)
    assert (code, out) == (2, "")
    assert "mainspring index" in error
    code, _, error = run("ask", "Who?", "--workspace", tmp_path / "nowhere")
    assert code == 2
    assert "mainspring fetch" in error
    assert not (tmp_path / "nowhere").exists()


def test_a_truncated_model_is_named_with_its_sums(run, indexed):
    weights = indexed / "artifacts" / "model" / "smollm2" / "1" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    code, _, error = run("ask", "Who?", "--model", "smollm2", "--workspace", indexed)
    assert code == 2
    assert "model.safetensors" in error
    assert "sha256" in error


def test_an_unknown_request_is_told_apart_from_none(run, indexed):
    code, _, error = run("trace", "req-none", "--workspace", indexed)
    assert code == 2
    assert "mainspring trace" in error
    assert "no request yet" in run("trace", "--workspace", indexed)[1]


def test_a_model_that_its_owner_brought_is_asked_by_its_name(run, root, documents):
    folder = root / "artifacts" / "model" / "smollm2" / "1"
    assert run("fetch", "mine", "--from", folder, "--workspace", root)[0] == 0
    code, out, _ = run("ask", "--model", "mine", "Hello?", "--workspace", root, "--json")
    assert code == 0
    assert json.loads(out)["finish_reason"]
    shutil.rmtree(root / "artifacts" / "model" / "mine")
    assert run("ask", "--model", "smollm2", "Hello?", "--workspace", root)[0] == 0
    _, _, message = run("ask", "--model", "other", "Hello?", "--workspace", root)
    assert "there is smollm2." in message

import pytest

from fakes_scripted import Parrot, Said, write_prompts
from mainspring.config import build
from mainspring.errors import UserError
from mainspring.schema import Sampling
from mainspring.train.sources.records import read_records
from mainspring.train.taught import TeachConfig, teach


def test_a_teachers_whole_answers_become_lessons_that_may_be_learnt(workspace, tmp_path):
    path = write_prompts(tmp_path / "prompts.jsonl", "red", "never ends", "blue")

    def answer(messages, sampling):
        text = messages[-1].content
        return Said("on and on", "length") if text == "never ends" else f"{text} is a color"

    model = Parrot(answer)
    config = build(TeachConfig, {"name": "colors", "prompts": path, "max_tokens": 9})
    dataset, run, dropped = teach(workspace.registry, workspace.runs, config, lambda *_: model)
    lines = read_records(workspace.registry, dataset.reference)
    assert [line["messages"][-1]["content"] for line in lines] == ["red is a color", "blue is a color"]
    assert (dropped, run.result) == ({"the answer was cut off": 1}, {"dataset": "dataset/colors@1"})
    asked = [sampling for _, sampling in model.asked]
    assert all(isinstance(each, Sampling) and (each.temperature, each.max_tokens) == (0, 9) for each in asked)


@pytest.mark.parametrize(
    "line", ['{"messages": [{"role": "assistant", "content": "hi"}]}', '{"prompt": " "}']
)
def test_prompts_that_do_not_end_with_the_user_are_refused_before_a_run_begins(workspace, tmp_path, line):
    path = tmp_path / "prompts.jsonl"
    path.write_text(line + "\n")
    config = build(TeachConfig, {"name": "colors", "prompts": path})
    with pytest.raises(UserError, match=r"line 1 of .* does not end with words of the user"):
        teach(workspace.registry, workspace.runs, config, lambda *_: Parrot(str))
    assert workspace.runs.list() == []

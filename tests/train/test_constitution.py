"""Answers revised and compared by principles: what is asked, what is kept, and that nothing is learnt unread."""

import re

import msgspec
import pytest

from fakes_scripted import Parrot, Said, write_prompts
from mainspring.config import build
from mainspring.errors import ConfigError, UserError
from mainspring.train.constitution import VERDICT, ConstitutionConfig, constitute, read_principles
from mainspring.train.review import accept
from mainspring.train.sources.records import read_records

PRINCIPLE = "The answer is kind."


def speak(messages, sampling):
    """Drafts, critiques and revisions that tell what they are of; the answer with the lower number is better."""
    last = messages[-1].content
    if "Which answer follows" in last:
        a, b = (int(number) for number in re.findall(r"draft (\d+)", last))
        return "A" if a < b else "(B)."
    if last.startswith("Here is a principle"):
        return f"too curt: {messages[-2].content}"
    if last.startswith("Write your answer again"):
        return f"kindly, {messages[-4].content}"
    return f"draft {sampling.seed}"


@pytest.fixture
def make(workspace, tmp_path):
    """Makes data of some prompts by a model that says what it is told to."""

    def run(*prompts, answer=speak, resume=None, model=None, **settings):
        path = write_prompts(tmp_path / "prompts.jsonl", *prompts) if prompts else None
        values = {"name": "kind", "prompts": path, "principles": [PRINCIPLE], "at_once": 2} | settings
        config = build(ConstitutionConfig, values) if path else None
        model = model or Parrot(answer)
        return constitute(workspace.registry, workspace.runs, config, lambda *_: model, resume=resume)

    return run


def records(workspace, dataset):
    accept(workspace.registry, dataset)
    return read_records(workspace.registry, dataset.reference)


def test_the_revision_is_the_lesson_and_the_better_draft_is_chosen(make, workspace):
    (lessons, pairs), run, made = make("one", "two", "three")
    assert (lessons.reference, pairs.reference, run.status) == (
        "dataset/kind@1",
        "dataset/kind-pairs@1",
        "done",
    )
    assert lessons.parents == {"model": "model/smollm2@1"}
    for each, lesson, pair in zip(made, records(workspace, lessons), records(workspace, pairs), strict=True):
        first, *_, second, _, _ = [step.said for step in each.steps]
        assert lesson["messages"][-1] == {"role": "assistant", "content": f"kindly, {first}"}
        assert (
            lesson["messages"][0]
            == pair["messages"][0]
            == {"role": "user", "content": each.prompt.messages[0].content}
        )
        assert [pair["chosen"], pair["rejected"]] == sorted([first, second], key=lambda said: int(said[6:]))
        assert first != second


def test_a_comparison_that_changes_with_the_order_is_dropped(make):
    def always_a(messages, sampling):
        return "A" if "Which answer" in messages[-1].content else speak(messages, sampling)

    kept, _, made = make("one", answer=always_a)
    assert [each.name for each in kept] == ["kind"]
    assert made[0].dropped == ("the comparison changed with the order of the answers",)


def test_a_revision_that_only_repeats_the_critique_is_no_lesson(make):
    def repeat(messages, sampling):
        last = messages[-1].content
        return (
            f"{messages[-2].content}!"
            if last.startswith("Write your answer again")
            else speak(messages, sampling)
        )

    kept, _, made = make("one", answer=repeat)
    assert ([each.name for each in kept], made[0].dropped) == (
        ["kind-pairs"],
        ("the revision 1 repeats the critique",),
    )


@pytest.mark.parametrize(
    ("said", "letter"),
    [
        ("A", "A"),
        ("(b)", "B"),
        ("Answer B.", "B"),
        ("A: kind", "A"),
        ("A is kinder", "A"),
        ("A good one", None),
        ("Both", None),
    ],
)
def test_a_verdict_is_a_letter_and_no_article(said, letter):
    found = VERDICT.match(said)
    assert (found and found[1].upper()) == letter


def test_answers_cut_off_are_neither_lessons_nor_pairs(make):
    with pytest.raises(UserError, match="the answer was cut off"):
        make("one", answer=lambda *_: Said("and so on", "length"))


def test_a_prompt_that_is_too_long_leaves_the_others(make):
    _, _, made = make("one", "x" * 20_000, "three", model=Parrot(speak))
    assert [bool(each.lesson) for each in made] == [True, False, True]
    assert "too long" in made[1].dropped[0]


def test_nothing_is_learnt_before_it_was_accepted(make, workspace):
    (lessons, _), _, _ = make("one", "two", "three")
    review = (workspace.registry.folder(lessons) / "review.md").read_text()
    assert all(text in review for text in (PRINCIPLE, "too curt: draft", "kindly, draft", "## 3"))
    with pytest.raises(UserError, match="constitution accept kind"):
        read_records(workspace.registry, "dataset/kind")
    accepted = accept(workspace.registry, lessons, {2})
    asked = [each["messages"][0]["content"] for each in read_records(workspace.registry, "dataset/kind")]
    assert (accepted.reference, asked) == ("dataset/kind@2", ["one", "three"])
    with pytest.raises(UserError, match="accepted it yet"):
        read_records(workspace.registry, "dataset/kind@1")


def test_what_was_accepted_stays_so_when_a_later_version_is(make, workspace):
    for _ in range(2):
        (lessons, _), _, _ = make("one")
        accept(workspace.registry, lessons)
    assert len(read_records(workspace.registry, "dataset/kind@1")) == 1


@pytest.mark.parametrize("without", [{4}, {1, 2, 3}])
def test_entries_that_cannot_be_left_out_are_refused(make, workspace, without):
    (lessons, _), _, _ = make("one", "two", "three")
    with pytest.raises(UserError, match="1 to 3"):
        accept(workspace.registry, lessons, without)


def test_a_stopped_run_goes_on_to_the_same_data(make, workspace):
    texts = ["one", "two", "three", "four", "five"]
    whole, _, _ = make(*texts)
    left = [22]  # steps until it is stopped: within the third prompt

    def stop(messages, sampling):
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        return speak(messages, sampling)

    with pytest.raises(KeyboardInterrupt):
        make(*texts, answer=stop)
    stopped = workspace.runs.list("constitution")[0]
    journal = workspace.runs.folder(stopped.id) / "journal.jsonl"
    num_done = len(journal.read_bytes().splitlines())
    journal.write_bytes(journal.read_bytes() + b'{"torn')
    model = Parrot(speak)
    resumed, _, _ = make(resume=stopped.id, model=model)
    assert 0 < num_done < 5
    assert {each[0].content for each, _ in model.asked if len(each) == 1 and each[0].content in texts} == set(
        texts[num_done:]
    )
    for old, new in zip(whole, resumed, strict=True):
        assert old.files == new.files


def test_a_run_whose_prompts_changed_is_not_resumed(make, workspace, tmp_path):
    with pytest.raises(KeyError):
        make("one", answer=lambda *_: {}["no"])
    run = workspace.runs.list("constitution")[0]
    write_prompts(tmp_path / "prompts.jsonl", "another")
    with pytest.raises(ConfigError, match=r"prompts.jsonl has changed"):
        make(resume=run.id)


def test_another_seed_gives_other_drafts_and_the_same_one_the_same(make):
    said = [[step.said for step in make("one", seed=seed)[2][0].steps] for seed in (1, 1, 2)]
    assert said[0] == said[1] != said[2]


def test_principles_come_from_lists_and_texts(tmp_path):
    (tmp_path / "a.yaml").write_text("- Be kind.\n- Be brief.\n")
    (tmp_path / "a.txt").write_text("# ours\nBe kind.\n\nBe brief.\n")
    assert (
        read_principles(tmp_path / "a.yaml")
        == read_principles(tmp_path / "a.txt")
        == ["Be kind.", "Be brief."]
    )
    assert len(read_principles(None)) >= 5
    (tmp_path / "b.yaml").write_text("kind: true\n")
    with pytest.raises(ConfigError, match="no list of sentences"):
        read_principles(tmp_path / "b.yaml")


def test_lines_keep_their_keys(make, workspace):
    (lessons, pairs), _, _ = make("one")
    lines = [(workspace.registry.folder(each) / "lessons.jsonl").read_bytes() for each in (lessons, pairs)]
    assert [set(msgspec.json.decode(line)) for line in lines] == [
        {"messages", "prompt"}, {"messages", "chosen", "rejected", "prompt"}
    ]  # fmt: skip

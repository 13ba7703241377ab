import msgspec
import pytest

from mainspring import artifact as artifacts
from mainspring.errors import UserError
from mainspring.evaluate import calibration, confidence
from mainspring.evaluate.confidence import Graded, calibrate, finder, grade, half_of, is_right, save
from mainspring.evaluate.gold import Gold
from mainspring.schema import Answer, Reply, Usage


def graded(num, is_good=lambda n: n % 3 > 0):
    return [
        Graded(
            id=f"q{n}", text="x", is_right=is_good(n), is_shown=n % 2 == 0, logprob=-0.1 - 0.01 * (n % 7),
            entropy=0.5, half=half_of(f"q{n}"),
        )
        for n in range(num)
    ]  # fmt: skip


def reply(text="Ada.", kind="generated", **more):
    answer = Answer(text=text, kind=kind)
    values = {"ids": (1,), "logprob": -0.5, "entropy": 0.7, "attributes": {"mainspring.generated": "I, Bob."}}
    return Reply(
        text=text, prompt_ids=(), finish_reason="stop", usage=Usage(), answer=answer, **(values | more)
    )


def assistant(registry, **config):
    return registry.add(
        artifacts.write(registry.root, "assistant", "mainspring", lambda _: None, config=config)
    )


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(calibration, "RESAMPLES", 20)
    monkeypatch.setattr(confidence, "draw", lambda *_: None)


@pytest.mark.parametrize(
    ("text", "wanted", "right"),
    [
        ("You need at least 10 GB of free space on the disk.", "at least 10 GB", True),
        ("a 10 GB disk", "at least 10 GB", True),
        ("Three", "three", True),
        ("thirteen", "three", False),
        ("110 GB", "10 GB", True),  # F1 is 0.5: the standard is of words, not of facts
        ("It was Ada.", None, False),
        ("", "Ada", False),
    ],
)
def test_an_answer_is_right_by_half_of_its_words_or_by_all_in_a_row(text, wanted, right):
    assert is_right(text, wanted) == right


def test_what_was_written_is_graded_shown_or_not_and_abstentions_are_not():
    gold = Gold(id="q", question="Who?", answer="Ada")
    found = grade([(gold, reply()), (gold, reply("“Ada.”", "extracted")), (gold, reply("No.", "abstained"))])
    assert [(each.text, each.is_right, each.is_shown) for each in found] == [
        ("Ada.", True, True),
        ("I, Bob.", False, False),
    ]


def test_what_is_reported_on_is_never_fitted_on(quick):
    items = graded(120)
    fit, report = calibrate(items, 130)
    changed = [
        msgspec.structs.replace(each, is_right=not each.is_right) if each.half == "report" else each
        for each in items
    ]
    again, _ = calibrate(changed, 130)
    assert fit == again
    assert (report.num_asked, report.num_fitted + report.num_reported) == (130, 120)
    assert report.accuracy.low <= report.accuracy.value <= report.accuracy.high


@pytest.mark.parametrize(("num", "what"), [(40, "14 of 40 written answers are wrong"), (0, "0 of 0")])
def test_too_few_answers_are_refused_with_the_number_that_is_needed(num, what):
    with pytest.raises(UserError, match=rf"{what}.*expected at least 20, and 5 in either half\. Add"):
        calibrate(graded(num), num)


def test_twenty_of_each_that_lie_in_one_half_are_refused():
    one_sided = [each for each in graded(200) if each.half == "fit"]
    with pytest.raises(UserError, match="0 in the smaller half"):
        calibrate(one_sided, 200)


def test_only_the_very_assistant_finds_its_fit(registry, quick):
    items = graded(120)
    fit, report = calibrate(items, 120)
    first = assistant(registry, prompt=1)
    ask = finder(registry, first.reference)
    assert ask(reply()) is None
    saved = save(registry, first, fit, report, items)
    assert ask(reply()) == pytest.approx(fit.confidence(-0.5, 0.7))
    assert ask(reply(ids=())) is None
    assert ask(reply(logprob=float("-inf"))) is None
    assert finder(registry, assistant(registry, prompt=2).reference)(reply()) is None
    assert registry.lineage(saved.reference)[saved.reference] == {"assistant": first.reference}


def test_a_fit_of_another_fingerprint_is_not_taken(registry, quick):
    items = graded(120)
    first = assistant(registry, prompt=1)
    save(registry, msgspec.structs.replace(first, fingerprint="another"), *calibrate(items, 120), items)
    assert finder(registry, first.reference)(reply()) is None


def test_the_newest_fit_counts(registry, quick):
    items, first = graded(120), assistant(registry)
    fit, report = calibrate(items, 120)
    save(registry, first, fit, report, items)
    save(registry, first, msgspec.structs.replace(fit, bias=fit.bias + 9), report, items)
    assert finder(registry, first.reference)(reply()) > fit.confidence(-0.5, 0.7)


@pytest.mark.slow
def test_the_plot_is_a_picture(tmp_path):
    items = graded(120)
    path = confidence.draw(
        items, calibration.Fit(bias=0.0, logprob=1.0, entropy=0.0, shown=0.0), tmp_path / "r.png"
    )
    assert path.read_bytes().startswith(b"\x89PNG")

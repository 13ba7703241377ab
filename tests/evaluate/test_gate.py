import pytest

from mainspring.errors import UserError
from mainspring.evaluate.answers import Judged
from mainspring.evaluate.gate import ALPHA, decide


def answered(f1s: list[float], num_abstained: int = 8) -> list[Judged]:
    """Answerable questions with these scores, and ten unanswerable ones of which some were left unanswered."""
    scored = [judged(f"q{at}", f1, "generated") for at, f1 in enumerate(f1s)]
    kinds = ["abstained"] * num_abstained + ["generated"] * (10 - num_abstained)
    return scored + [judged(f"u{at}", None, kind) for at, kind in enumerate(kinds)]


def judged(name: str, f1: float | None, kind: str) -> Judged:
    return Judged(question="?", id=name, generated="", shown="", kind=kind, f1=f1, exact=f1, num_citations=0)


LOW, MIDDLE, HIGH = ([base + 0.01 * (at % 7) for at in range(40)] for base in (0.2, 0.4, 0.7))


def decided(candidate: list[Judged], base: list[Judged], few_shot: list[Judged]):
    return decide(candidate, {"base": base, "few-shot": few_shot}, base="base", few_shot="few-shot")


def test_a_clear_lead_over_both_opponents_passes():
    report = decided(answered(HIGH), answered(LOW), answered(MIDDLE))
    assert (report.decision, report.reasons) == ("pass", [])
    assert (report.before, report.few_shot, report.after) == pytest.approx(
        tuple(sum(each) / 40 for each in (LOW, MIDDLE, HIGH))
    )
    assert report.p_value < ALPHA
    assert report.num_items == 40


def test_a_lead_over_the_base_alone_is_refused_by_the_other_opponents_p_value():
    report = decided(answered(MIDDLE), answered(LOW), answered(HIGH))
    assert report.decision == "refuse"
    assert len(report.reasons) == 1
    assert report.reasons[0].startswith("not better than few-shot: token F1 0.4")
    assert report.p_value == report.p_values["few-shot"] > ALPHA > report.p_values["base"]


def test_the_same_answers_are_refused():
    report = decided(answered(HIGH), answered(HIGH), answered(HIGH))
    assert report.decision == "refuse"
    assert len(report.reasons) == 2


def test_a_lead_with_less_abstention_is_refused():
    report = decided(answered(HIGH, 7), answered(LOW, 8), answered(LOW, 5))
    assert report.decision == "refuse"
    assert report.reasons == ["abstains worse: 70% of the unanswerable, before 80%"]
    assert report.abstention == {"base": 0.8, "few-shot": 0.5, "candidate": 0.7}


def test_less_abstention_than_the_few_shot_opponent_alone_is_no_reason():
    assert decided(answered(HIGH, 8), answered(LOW, 8), answered(LOW, 10)).decision == "pass"


def test_a_gate_on_too_few_questions_does_not_decide():
    with pytest.raises(UserError, match="at least 40"):
        decided(answered(HIGH[:39]), answered(LOW[:39]), answered(LOW[:39]))

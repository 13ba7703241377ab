"""The gate: a version passes only if it is better than what there is, by more than luck, and abstains no worse."""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from mainspring.evaluate.answers import Judged, summarize
from mainspring.evaluate.compare import paired_bootstrap

ALPHA = 0.05


class GateReport(msgspec.Struct, frozen=True, kw_only=True):
    """A decision with its figures.

    `before` and `few_shot` are the opponents' token F1, `after` the candidate's; `p_value` is the greater of
    the two comparisons'. `abstention` is the part of unanswerable questions that was left unanswered, before
    and after.
    """

    metric: Literal["token_f1"] = "token_f1"
    num_items: int
    before: float
    few_shot: float
    after: float
    p_value: float
    p_values: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    abstention: dict[str, float]
    alpha: float = ALPHA
    decision: Literal["pass", "refuse"]
    reasons: list[str]


def decide(
    candidate: Sequence[Judged], opponents: Mapping[str, Sequence[Judged]], *, base: str, few_shot: str
) -> GateReport:
    """Compare a candidate with every opponent on the same questions.

    Args:
        candidate: what the candidate made of each question.
        opponents: the same questions, by the name of the opponent.
        base: the opponent whose abstention the candidate must reach.
        few_shot: the opponent that is told by examples what the candidate has learnt.

    """
    summary = summarize(candidate)
    compared = {name: paired_bootstrap(_scores(each), _scores(candidate)) for name, each in opponents.items()}
    p_values = {name: each.p_value for name, each in compared.items()}
    reasons = [
        f"not better than {name}: token F1 {each.after:.3f} against {each.before:.3f}, p = {each.p_value:.3f}"
        for name, each in compared.items()
        if each.p_value >= ALPHA
    ]
    abstention = {name: summarize(each).abstained_unanswerable for name, each in opponents.items()}
    abstention["candidate"] = summary.abstained_unanswerable
    if abstention["candidate"] < abstention[base]:
        reasons.append(
            f"abstains worse: {abstention['candidate']:.0%} of the unanswerable, before {abstention[base]:.0%}"
        )
    return GateReport(
        num_items=compared[base].num_items,
        before=compared[base].before,
        few_shot=compared[few_shot].before,
        after=summary.f1,
        p_value=max(p_values.values()),
        p_values=p_values,
        intervals={name: (each.low, each.high) for name, each in compared.items()},
        abstention=abstention,
        decision="refuse" if reasons else "pass",
        reasons=reasons,
    )


def _scores(judged: Sequence[Judged]) -> list[float]:
    return [each.f1 for each in judged if each.f1 is not None]

"""The confidence of an assistant's generated answers: fitted, held against other questions, kept, found again.

Answers that were written and not shown, for want of support, are learnt from as well: with few wrong ones among
those that were shown there would be nothing to tell apart. That an answer was shown is a feature of its own.

gold questions -> answers that were written   -> right or wrong -> by a hash of the id -> fit    -> artifact
                                                                                       -> report ->
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from mainspring import artifact as artifacts
from mainspring.artifact import Artifact
from mainspring.errors import MissingExtraError, UserError
from mainspring.evaluate import calibration
from mainspring.evaluate.answers import GENERATED
from mainspring.evaluate.calibration import Figure, Fit, Quality
from mainspring.evaluate.gold import Gold
from mainspring.evaluate.metrics import token_f1, words
from mainspring.progress import say
from mainspring.registry import Registry
from mainspring.schema import Reply
from mainspring.train.plots import label, picture

KIND, PARENT, ANSWERS, PLOT = "confidence", "assistant", "answers.jsonl", "reliability.png"
MIN_OUTCOME = 20  # right, and wrong, among all answers
MIN_HALF = 5  # the same in either half
RIGHT_F1 = 0.5


class Graded(msgspec.Struct, frozen=True, kw_only=True):
    """What the model wrote, whether it is right and was shown, and the means over its ids."""

    id: str
    text: str
    is_right: bool
    is_shown: bool
    logprob: float
    entropy: float
    half: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What the confidences of the reported half are worth: `before` is exp(mean log-probability), `after` the fit's.

    `shown` is `after` of the answers that were shown, None where all of them are right or all wrong.
    """

    num_asked: int
    num_fitted: int
    num_reported: int
    num_shown: int
    accuracy: Figure
    before: Quality
    after: Quality
    shown: Quality | None


def is_right(text: str, wanted: str | None) -> bool:
    """Token F1 of 0.5 or more, or all wanted words in a row; nothing is right where no answer is wanted."""
    if wanted is None:
        return False
    given, gold = f" {' '.join(words(text))} ", f" {' '.join(words(wanted))} "
    return bool(gold.strip() and gold in given) or token_f1(text, wanted) >= RIGHT_F1


def grade(pairs: Sequence[tuple[Gold, Reply]]) -> list[Graded]:
    """What the model wrote to each question, but for those where it abstained."""
    graded: list[Graded] = []
    for item, reply in pairs:
        is_written = reply.ids and math.isfinite(reply.logprob + reply.entropy)
        if reply.answer is None or reply.answer.kind == "abstained" or not is_written:
            continue
        is_shown = reply.answer.kind == "generated"
        text = reply.text if is_shown else reply.attributes[GENERATED]
        graded.append(
            Graded(
                id=item.id, text=text, is_right=is_right(text, item.answer), is_shown=is_shown,
                logprob=reply.logprob, entropy=reply.entropy, half=half_of(item.id),
            )
        )  # fmt: skip
    return graded


def half_of(identity: str) -> str:
    """Whether a question is fitted on or reported on; its id alone decides."""
    return "report" if hashlib.sha256(identity.encode()).digest()[0] % 2 else "fit"


def calibrate(graded: Sequence[Graded], num_asked: int) -> tuple[Fit, Report]:
    """Fit on one half of the answers and report on the other.

    Raises:
        UserError: too few right or wrong answers to learn from, or to report on.

    """
    _check(graded)
    (x_fit, right_fit), (x, right) = (
        _arrays([each for each in graded if each.half == half]) for half in ("fit", "report")
    )
    found = calibration.fit(x_fit, right_fit)
    after = np.array([found.confidence(*row) for row in x])
    shown = x[:, 2] == 1
    has_both = 0 < right[shown].sum() < shown.sum()
    draws = np.random.default_rng(0).choice(right, (calibration.RESAMPLES, len(right))).mean(1)
    low, high = np.quantile(draws, (0.025, 0.975))
    report = Report(
        num_asked=num_asked, num_fitted=len(x_fit), num_reported=len(x), num_shown=int(shown.sum()),
        accuracy=Figure(value=float(right.mean()), low=float(low), high=float(high)),
        before=calibration.quality(np.exp(x[:, 0]), right), after=calibration.quality(after, right),
        shown=calibration.quality(after[shown], right[shown]) if has_both else None,
    )  # fmt: skip
    return found, report


def save(
    registry: Registry, assistant: Artifact, found: Fit, report: Report, graded: Sequence[Graded]
) -> Artifact:
    """Keep a fit with its report, its answers and, where matplotlib is there, the reliability plot."""

    def fill(folder: Path) -> None:
        (folder / ANSWERS).write_bytes(msgspec.json.Encoder().encode_lines(graded))
        try:
            draw([each for each in graded if each.half == "report"], found, folder / PLOT)
        except MissingExtraError as error:
            say(str(error))

    config = {
        "fingerprint": assistant.fingerprint, "fit": msgspec.to_builtins(found),
        "report": msgspec.to_builtins(report),
    }  # fmt: skip
    parents = {PARENT: assistant.reference}
    return registry.add(
        artifacts.write(registry.root, KIND, _name(assistant.reference), fill, config=config, parents=parents)
    )


def draw(graded: Sequence[Graded], found: Fit, path: Path) -> Path:
    """Accuracy over confidence by bins, before and after; the diagonal is perfect."""
    x, right = _arrays(graded)
    with picture(path, 1, 2, "The plot of a calibration") as (_, axes):
        fitted = np.array([found.confidence(*row) for row in x])
        named = (("exp(mean log-probability)", np.exp(x[:, 0])), ("calibrated", fitted))
        for axis, (name, p) in zip(axes, named, strict=True):
            axis.plot([0, 1], [0, 1], color="gray", linewidth=0.8)
            means, shares, counts = zip(*calibration.bins(p, right), strict=True)
            axis.scatter(means, shares, s=[12 * count for count in counts])
            axis.set(title=name, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
            label(axis, "confidence", "share of right answers")
    return path


def finder(registry: Registry, reference: str) -> Callable[[Reply], float | None]:
    """Gives the confidence of a reply of this assistant by the newest fit for it, None while there is none."""

    def confidence(reply: Reply) -> float | None:
        name = f"{KIND}/{_name(reference)}"
        if not reply.ids or not registry.has(name):
            return None
        kept, assistant = registry.get(name), registry.get(reference)
        is_its = kept.parents.get(PARENT) == reference and kept.config["fingerprint"] == assistant.fingerprint
        if not is_its or not math.isfinite(reply.logprob + reply.entropy):
            return None
        return msgspec.convert(kept.config["fit"], Fit).confidence(reply.logprob, reply.entropy)

    return confidence


def _name(reference: str) -> str:
    """The name of an assistant's fits: with its version, so that another version has none."""
    return reference.partition("/")[2].replace("@", "-")


def _arrays(graded: Sequence[Graded]) -> tuple[np.ndarray, np.ndarray]:
    x_NF = np.array([[each.logprob, each.entropy, each.is_shown] for each in graded])
    return x_NF, np.array([float(each.is_right) for each in graded])


def _check(graded: Sequence[Graded]) -> None:
    for is_good, what in ((True, "right"), (False, "wrong")):
        found = [each.half for each in graded if each.is_right == is_good]
        least = min(found.count("fit"), found.count("report"))
        if len(found) < MIN_OUTCOME or least < MIN_HALF:
            raise UserError(
                f"{len(found)} of {len(graded)} written answers are {what} ({least} in the smaller half), expected "
                f"at least {MIN_OUTCOME}, and {MIN_HALF} in either half. Add held-out questions that the assistant "
                f"answers {'rightly' if is_good else 'wrongly, such as harder ones'}."
            )

"""After a step: the next id of every sequence, the drafts that were right, and who is done.

Shapes: N scored rows of the step, V vocabulary.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from mainspring.errors import MainspringError
from mainspring.infer import request as requests
from mainspring.infer.request import Output, hand_out
from mainspring.infer.sampling import Chosen, Row, Summarize, choose_rows, prompt_logprobs
from mainspring.infer.scheduler import Scheduler, Work
from mainspring.schema import FinishReason

End = Callable[[requests.Sequence, Output | None], None]


@dataclass(slots=True)
class Turn:
    """A sequence that has an id to choose: the row of scores to choose from, and the drafts behind it."""

    sequence: requests.Sequence
    row: int
    drafts: tuple[int, ...] = ()
    num_right: int = 0


class Chooser:
    """Chooses, hands out, and ends what has ended: `end` is called with the last output, or None where it is out."""

    def __init__(self, scheduler: Scheduler, end: End, summarize: Summarize) -> None:
        self._scheduler, self._end, self._summarize = scheduler, end, summarize

    def __call__(self, works: Sequence[Work], scores_NV: torch.Tensor) -> None:
        """Choose for all works of a step.

        A draft is right if it is the very id that is chosen in its place, and then the next row counts as well. The
        choice depends on the scores, the seed and the place alone, so drafts change no answer.
        """
        going = list(self._turns(works, scores_NV))
        drafted = [turn for turn in going if turn.drafts]
        while going:
            pairs = [(turn, row) for turn in going if (row := self._row(turn.sequence)) is not None]
            places, rows = [turn.row for turn, _ in pairs], [row for _, row in pairs]
            chosen = choose_rows(scores_NV, places, rows, self._summarize)
            going = [turn for (turn, _), each in zip(pairs, chosen, strict=True) if self._take(turn, each)]
        for turn in drafted:
            if turn.sequence.pace is not None:
                turn.sequence.pace.note(len(turn.drafts), turn.num_right)
            self._scheduler.stats.draft_tokens += len(turn.drafts)
            self._scheduler.stats.accepted_tokens += turn.num_right

    def _turns(self, works: Sequence[Work], scores_NV: torch.Tensor) -> Iterator[Turn]:
        """Who has an id to choose; the first choice of a prompt is also that of all who follow it."""
        first = 0
        for work in works:
            sequence, rows = work.sequence, slice(first, first + work.num_scored)
            first = rows.stop
            if sequence.wants_prompt and self._score_prompt(work, scores_NV[rows]):
                self._end(sequence, None)
            elif sequence.num_computed >= len(sequence.ids):
                last = rows.stop - 1 - work.num_drafts
                yield Turn(sequence, last, work.ids[len(work.ids) - work.num_drafts :])
                for follower in self._scheduler.fork(sequence) if sequence.followers else ():
                    yield Turn(follower, last)

    def _score_prompt(self, work: Work, scores_NV: torch.Tensor) -> bool:
        """Hand out log-probabilities of the prompt's ids that follow the work's, but of none a second time after a
        preemption. True when the request is to end.
        """
        sequence, end = work.sequence, work.sequence.num_computed
        start = end - len(work.ids)
        first = max(sequence.num_told, start)
        ids = sequence.request.ids[first + 1 : end + 1]
        if not ids:
            return False
        sequence.num_told = end
        rows_NV, number = scores_NV[first - start :][: len(ids)], sequence.request.sampling.prompt_logprobs
        found = prompt_logprobs(rows_NV, ids, number, self._summarize)
        return hand_out(sequence.sink, Output(prompt=tuple(found)))

    def _row(self, sequence: requests.Sequence) -> Row | None:
        """What to choose by; None for a sequence whose grammar has outgrown its limits, which ends here."""
        row = sequence.row()
        try:
            row.mask = sequence.grammar.mask() if sequence.grammar is not None else None
        except MainspringError as error:
            self._end(sequence, Output.failed(error))
            return None
        return row

    def _take(self, turn: Turn, chosen: Chosen) -> bool:
        """Hand out the next id, and end the request where it ends; True while its drafts go on being right."""
        sequence, output = turn.sequence, _grow(turn.sequence, chosen)
        self._scheduler.stats.generated_tokens += len(output.chosen)
        if output.finish_reason is not None or output.error is not None:
            self._end(sequence, output)
        elif hand_out(sequence.sink, output):
            self._end(sequence, None)
        elif turn.num_right < len(turn.drafts) and turn.drafts[turn.num_right] == chosen.id:
            turn.num_right += 1
            turn.row += 1
            self._scheduler.computed(sequence, 1)
            return True
        return False


def _grow(sequence: requests.Sequence, chosen: Chosen) -> Output:
    """Append the next id, where it is one that is shown, and say what is to be told of it."""
    if math.isnan(chosen.logprob):
        return Output(error="Nothing can be chosen: the scores are no numbers, or a constraint allows no id.")
    if chosen.id in sequence.request.ends:
        return Output(finish_reason="stop", end=chosen, num_cached=sequence.num_cached)
    sequence.ids.append(chosen.id)
    try:
        sequence.take_note(chosen.id)
    except MainspringError as error:  # the grammar may outgrow its limits here as well
        return Output.failed(error)
    reason: FinishReason | None = None
    if sequence.grammar is not None and sequence.grammar.is_done:
        reason = "stop"
    elif sequence.num_generated >= sequence.request.sampling.max_tokens:
        reason = "length"
    return Output(chosen=(chosen,), finish_reason=reason, num_cached=sequence.num_cached)

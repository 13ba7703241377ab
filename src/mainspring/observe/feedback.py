"""What users say of answers: ratings and corrections, a view over the log that training reads."""

from typing import Any, Literal

import msgspec

from mainspring.errors import NotFoundError, UserError
from mainspring.events import Event, EventLog
from mainspring.gateway.base import ANSWER, AnswerRecord

FEEDBACK = "feedback"
MAX_CORRECTION_CHARACTERS = 20_000
RATINGS = ("up", "down")

Rating = Literal["up", "down"]


class FeedbackRow(msgspec.Struct, frozen=True, kw_only=True):
    """The last word on an answer. `source` says who gave it: "user", or a stand-in that names itself."""

    request: str
    rating: Rating
    correction: str | None
    source: str
    answer: AnswerRecord


class Feedback:
    """Feedback on the answers in a log."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    def give(
        self,
        request: str,
        rating: str,
        correction: str | None = None,
        source: str = "user",
        *,
        comment: str | None = None,
    ) -> None:
        """Write one rating, durable when this returns; a later one of the same request replaces it.

        Raises:
            NotFoundError: no answer was given to this request.
            UserError: a rating other than up and down, a correction that is empty or too long.

        """
        if rating not in RATINGS:
            raise UserError(f"`rating` is {rating!r}; it must be 'up' or 'down'.")
        for name, text in (("correction", correction), ("comment", comment)):
            if text is not None and not text.strip():
                raise UserError(f"`{name}` is empty; write it or leave it out.")
            if text is not None and len(text) > MAX_CORRECTION_CHARACTERS:
                raise UserError(
                    f"`{name}` has {len(text):,} characters; {MAX_CORRECTION_CHARACTERS:,} is the most. "
                    "Shorten it."
                )
        if self._answer(request) is None:
            raise NotFoundError(
                f"There is no answer to a request '{request}'; use the id that came with the answer."
            )
        data: dict[str, Any] = {"rating": rating, "correction": correction, "source": source}
        if comment is not None:
            data["comment"] = comment
        self._log.append(Event(type=FEEDBACK, subject=request, data=data))

    def latest(self) -> list[FeedbackRow]:
        """The last feedback of every request that has some, in the order of the first."""
        self._log.flush()
        last = {event.subject: event.data for event in self._log.find(type=FEEDBACK)}
        rows = []
        for request, data in last.items():
            answer = self._answer(request)
            if answer is not None:
                rows.append(
                    FeedbackRow(
                        request=request,
                        rating=data["rating"],
                        correction=data["correction"],
                        source=data["source"],
                        answer=answer,
                    )
                )
        return rows

    def _answer(self, request: str) -> AnswerRecord | None:
        """The recorded answer; one that is still on its way to the log is waited for."""
        found = self._log.find(type=ANSWER, subject=request, limit=1)
        if not found:
            self._log.flush()
            found = self._log.find(type=ANSWER, subject=request, limit=1)
        return msgspec.convert(found[0].data, AnswerRecord) if found else None

"""How much of a prompt fits into a step without making those who decode wait too long, and what a guess costs.

A step's time is taken as (time of the decoding rows) + (time a guess) x (guesses) + (time a prompt token) x (prompt
tokens); all three are running means of what was measured. A prompt token's grows with its place, so what fits shrinks
while a long prompt is computed. The numbers only decide how prompts are cut and what is guessed, which changes no
answer in the exact mode.
"""

FIRST_GUESS = 64
NO_LIMIT = 1 << 30
WEIGHT = 0.2
LEAST = 0.1
"""The part of a step that what is measured takes at least, however the means have gone."""


class Tempo:
    """`max_slowdown`: how many times longer than decoding alone a mixed step may take; `grain`: see Backend."""

    def __init__(self, max_slowdown: float, grain: int) -> None:
        self._max_slowdown, self._grain = max_slowdown, grain
        self._decode_s: float | None = None
        self._draft_s: float | None = None
        self._token_s: float | None = None

    def prompt_tokens(self) -> int:
        """Prompt tokens that a step with decoding rows may take."""
        if self._decode_s is None or self._token_s is None:
            return FIRST_GUESS
        room = (self._max_slowdown - 1) * self._decode_s / self._token_s
        return max(int(min(room, NO_LIMIT)), self._grain)

    def row_cost(self, num_decoding: int) -> float:
        """What one more row costs, as a share of what a sequence's own row does: what speculation has to earn.

        A step that reads the weights for one sequence has rows to spare; where many share it, every row counts.
        Until a step without guesses was measured they are too dear to be made.
        """
        row_s = self._token_s if self._draft_s is None else self._draft_s
        if self._decode_s is None or row_s is None:
            return 1.0
        return row_s * num_decoding / self._decode_s

    def share(self, seconds: float) -> float:
        """A time as a share of a step that decodes; 0 while none has been measured."""
        return 0.0 if self._decode_s is None else seconds / self._decode_s

    def note(self, num_decoding: int, num_drafts: int, num_prompt: int, seconds: float) -> None:
        """Learn from a step."""
        decode_s = (self._decode_s or 0.0) if num_decoding else 0.0
        if num_prompt:
            rest = seconds - decode_s - num_drafts * (self._draft_s or 0.0)
            self._token_s = mean(self._token_s, max(rest, seconds * LEAST) / num_prompt)
        elif num_drafts:
            self._draft_s = mean(self._draft_s, max(seconds - decode_s, seconds * LEAST) / num_drafts)
        elif num_decoding:
            self._decode_s = mean(self._decode_s, seconds)


def mean(before: float | None, value: float) -> float:
    """The running mean after one more value."""
    return value if before is None else (1 - WEIGHT) * before + WEIGHT * value

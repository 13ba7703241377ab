"""How much of a prompt fits into a step without making those who decode wait too long.

A step's time is taken as (time of the decoding rows) + (time a prompt token) x (prompt tokens); both are running
means of what was measured. The numbers only decide how prompts are cut, which changes no answer in the exact mode.
"""

FIRST_GUESS = 64
WEIGHT = 0.2


class Tempo:
    """`max_slowdown`: how many times longer than decoding alone a mixed step may take."""

    def __init__(self, max_slowdown: float, smallest: int) -> None:
        self._max_slowdown, self._smallest = max_slowdown, smallest
        self._decode_s: float | None = None
        self._token_s: float | None = None

    def prompt_tokens(self) -> int:
        """Prompt tokens that a step with decoding rows may take."""
        if self._decode_s is None or self._token_s is None:
            return FIRST_GUESS
        room = (self._max_slowdown - 1) * self._decode_s / self._token_s
        return max(int(room), self._smallest)

    def row_cost(self) -> float:
        """What one more row costs, as a share of a step that decodes; what speculation has to earn."""
        return self.share(self._token_s or 0.0)

    def share(self, seconds: float) -> float:
        """A time as a share of a step that decodes; 0 while none has been measured."""
        return 0.0 if self._decode_s is None else seconds / self._decode_s

    def note(self, num_decoding: int, num_prompt: int, seconds: float) -> None:
        if num_decoding and not num_prompt:
            self._decode_s = mean(self._decode_s, seconds)
        elif num_prompt:
            rest = max(seconds - (self._decode_s or 0.0 if num_decoding else 0.0), seconds / 10)
            self._token_s = mean(self._token_s, rest / num_prompt)


def mean(before: float | None, value: float) -> float:
    """The running mean after one more value."""
    return value if before is None else (1 - WEIGHT) * before + WEIGHT * value

"""What an engine has done and holds, as numbers that a dashboard reads."""

from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class EngineStats:
    """Counts since the start, except for `num_running`, `num_waiting`, `kv_use` (0 to 1) and `last_step_s`.

    `since_step_s` is how long ago the last step ended while there is work: what a watchdog looks at.
    """

    num_running: int = 0
    num_waiting: int = 0
    kv_use: float = 0.0
    prefix_queries: int = 0
    prefix_hits: int = 0
    num_preemptions: int = 0
    prompt_tokens: int = 0
    generated_tokens: int = 0
    draft_tokens: int = 0
    accepted_tokens: int = 0
    num_steps: int = 0
    last_step_s: float = 0.0
    since_step_s: float = 0.0

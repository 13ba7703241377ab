"""What a run will take, said before its first step: a little of it is run, measured, and carried on to the rest.

    memory   the largest of: opening, answering, the optimizer's step, a batch forwards and backwards
             + what the saver copies + what kernels leave behind that have not been met yet
    time     opening + warming up + steps * (making batches + ids * seconds an id + the optimizer) + looks at held out

A quarter of the first step's largest batch is run first; the whole one only if what follows from it fits this machine.
"""

import msgspec

from mainspring import device
from mainspring.errors import MainspringError
from mainspring.train.memory import knobs
from mainspring.train.probe import (
    Rate,
    Work,
    available,
    first_work,
    measured,
    optimize,
    quarter,
    resident,
    run,
    run_some,
)
from mainspring.train.session import Session
from mainspring.train.shape import BACKWARD

ROOM = 0.9  # of the machine's memory that a run may take
KERNELS_BYTES = 600_000_000
"""What kernels of half precision come to. oneDNN makes one for every shape of a product, and keeps 1,024; measured."""
SEEN_HELD_OUT = 200  # items whose ids are counted


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes in bytes, times in seconds; `peak_bytes` is the process's largest resident memory."""

    num_steps: int
    parameters: int
    trained_parameters: int
    tokens_per_step: float
    batches_per_step: float
    peak_bytes: int
    available_bytes: int
    seconds_per_step: float
    seconds: float

    @property
    def fits(self) -> bool:
        return self.peak_bytes <= ROOM * self.available_bytes


class DoesNotFitError(MainspringError):
    """A run needs more memory than there is; says which settings need less."""


def forecast(session: Session, *, opening_s: float = 0.0) -> Forecast:
    """Measure a little of a run that has not begun; `opening_s`: what opening it took.

    Raises:
        DoesNotFitError: the run would not fit this machine's memory.

    """
    opening_bytes = device.peak_rss_bytes()
    work = first_work(session)
    part = quarter(session, work)
    if session.config.plan.compile:
        run(session, part)  # the compiler's memory and time do not grow with the batches
    _, optimizing = measured(lambda: optimize(session))
    idle = resident()
    room = available(idle)
    _, least = measured(lambda: run(session, part))
    session.learner.optimizer.zero_grad(set_to_none=True)
    scale = _most_tokens(session, work) / len(part.ids)
    peak = int(idle + (least.peak_bytes - idle) * scale) + session.saver.copied_bytes
    step_s = optimizing.seconds + least.seconds * work.tokens_per_step / len(part.ids)
    if peak <= ROOM * room:
        rate = run_some(session, work)
        _, optimizing = measured(lambda: optimize(session))
        peak = max(
            _peak(session, work, rate, idle), work.making.peak_bytes, optimizing.peak_bytes, opening_bytes
        )
        step_s = optimizing.seconds + rate.seconds_per_token * work.tokens_per_step
    session.learner.optimizer.state.clear()
    found = _told(session, work, (peak, room), step_s, opening_s)
    if not found.fits:
        raise DoesNotFitError(
            f"The run would need about {found.peak_bytes / 1e9:.1f} GB; this machine can give "
            f"{ROOM * found.available_bytes / 1e9:.1f} GB. What helps: "
            f"{'; '.join(knobs(session.learner.model, session.config))}."
        )
    return found


def _most_tokens(session: Session, work: Work) -> int:
    """Ids of the largest batch that the run may meet."""
    sizes = [len(batch.ids) for batch in (*work.batches, *work.more)]
    return max(*sizes, 0, min(session.config.plan.micro_batch_tokens, int(work.tokens_per_step)))


def _peak(session: Session, work: Work, rate: Rate, idle: int) -> int:
    """Of a step, late in the run."""
    run_tokens = max(len(batch.ids) for batch in (*work.batches, *work.more))
    peak = idle + (rate.peak_bytes - idle) * max(1.0, _most_tokens(session, work) / run_tokens)
    copied = session.saver.copied_bytes if session.num_steps > session.config.save_every_steps else 0
    return int(peak + copied + _kernels(session, work, rate))


def _kernels(session: Session, work: Work, rate: Rate) -> float:
    """What is still to come of kernels for new shapes; in full precision there are none."""
    if session.config.plan.dtype not in ("bf16", "fp16"):
        return 0.0
    ahead = session.num_steps * work.batches_per_step - rate.num_batches
    kept = rate.kept_bytes_per_batch
    return max(0.0, min(kept * ahead, KERNELS_BYTES - kept * rate.num_batches))


def _held_out_s(session: Session, step_s: float, work: Work) -> float:
    """Of all looks at what is held out: a forward of every id."""
    held, every = session.validation, session.config.validate_every_steps
    if held is None:
        return 0.0
    seen = range(0, held.num_items, max(1, held.num_items // SEEN_HELD_OUT))
    tokens = sum(each.num_tokens for index in seen for each in held.item(index)) * held.num_items / len(seen)
    looks = session.num_steps // every if every else 1
    return looks * tokens * step_s / work.tokens_per_step / (1 + BACKWARD)


def _told(session: Session, work: Work, sizes: tuple[int, int], step_s: float, opening_s: float) -> Forecast:
    learner, updates = session.learner, session.updates
    steps_s = session.num_steps * (step_s + work.making.seconds / updates)
    return Forecast(
        num_steps=session.num_steps, parameters=sum(each.numel() for each in learner.model.parameters()),
        trained_parameters=sum(each.numel() for each in learner.parameters.values()),
        tokens_per_step=work.tokens_per_step, batches_per_step=work.batches_per_step, peak_bytes=sizes[0],
        available_bytes=sizes[1], seconds_per_step=step_s + work.making.seconds / updates,
        seconds=opening_s + work.warming_s + steps_s + _held_out_s(session, step_s, work),
    )  # fmt: skip

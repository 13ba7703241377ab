"""All checks, in the order in which a dataset's life brings their faults about."""

from collections.abc import Iterator

from mainspring.data.doctor.base import Check, Fault
from mainspring.data.doctor.begins import DoubledBegin
from mainspring.data.doctor.duplicates import Duplicated
from mainspring.data.doctor.empty import Empty
from mainspring.data.doctor.encoding import WrongEncoding
from mainspring.data.doctor.ends import MissingEnd
from mainspring.data.doctor.labels import LabelRange
from mainspring.data.doctor.leaked import LeakedEvaluation
from mainspring.data.doctor.masks import AllZeroMask
from mainspring.data.doctor.template import TemplateMismatch
from mainspring.data.doctor.truncated import Truncated
from mainspring.data.doctor.view import View

CHECKS: tuple[Check, ...] = (
    Empty(), WrongEncoding(), Duplicated(), LeakedEvaluation(), LabelRange(), TemplateMismatch(), AllZeroMask(),
    Truncated(), MissingEnd(), DoubledBegin(),
)  # fmt: skip


def examine(view: View) -> Iterator[Fault]:
    """The faults of a dataset, check by check."""
    for check in CHECKS:
        yield from check(view)

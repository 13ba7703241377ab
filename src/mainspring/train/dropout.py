"""A run's dropout: put into the blocks of a model for its length. The random numbers are the run's own.

Teachers and validation never see it. A reference that is the model itself with its adapter off does.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from mainspring.models.model import Model
from mainspring.models.parts.block import Block
from mainspring.models.parts.stack import Stack


@contextmanager
def dropping(model: Model, fraction: float) -> Iterator[None]:
    """Leave out this fraction of what blocks add, while the model learns."""
    places = [module for module in model.modules() if isinstance(module, Stack | Block)]
    for each in places:
        each.dropout = fraction
    try:
        yield
    finally:
        for each in places:
            each.dropout = 0.0

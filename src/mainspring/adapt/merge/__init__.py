"""Several models or adapters become one: one file a method, and what they are applied to."""

from typing import Annotated

from pydantic import Field

from mainspring.adapt.merge.dare import Dare
from mainspring.adapt.merge.linear import Linear
from mainspring.adapt.merge.slerp import Slerp
from mainspring.adapt.merge.task import Task
from mainspring.adapt.merge.ties import Ties

MergeMethod = Annotated[Linear | Task | Ties | Dare | Slerp, Field(discriminator="kind")]

__all__ = ["Dare", "Linear", "MergeMethod", "Slerp", "Task", "Ties"]

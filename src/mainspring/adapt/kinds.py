"""The kinds of transforms that a recipe may name."""

from typing import Annotated

from pydantic import Field

from mainspring.adapt.bottleneck import Bottleneck
from mainspring.adapt.freeze import Freeze, Full
from mainspring.adapt.ia3 import Ia3
from mainspring.adapt.lora import Lora, QLora
from mainspring.adapt.prefix import Prefix
from mainspring.adapt.prompt import Prompt

Transform = Annotated[
    Full | Freeze | Lora | QLora | Ia3 | Bottleneck | Prefix | Prompt, Field(discriminator="kind")
]

"""What `mainspring serve` can be told."""

from pydantic import Field

from mainspring.config import Config
from mainspring.infer.request import EngineConfig


class ServeSettings(Config):
    """Settings of a server.

    `mainspring serve -o engine.backend=native -o engine.isolate=true` is the fast and robust form: weights in 8 bits,
    and an engine that is started again when it dies.
    """

    engine: EngineConfig = Field(default=EngineConfig(), description="How models are run.")

"""What `mainspring serve` can be told."""

from pathlib import Path

from pydantic import Field

from mainspring.config import Config
from mainspring.errors import ConfigError
from mainspring.infer.request import EngineConfig
from mainspring.serve.limits import Limits


class ServeSettings(Config):
    """Settings of a server.

    `mainspring serve -o engine.backend=native -o engine.isolate=true` is the fast and robust form: weights in 8 bits,
    and an engine that is started again when it dies.
    """

    engine: EngineConfig = Field(default=EngineConfig(), description="How models are run.")
    limits: Limits = Field(default=Limits(), description="What one client may cost.")
    aliases: dict[str, str] = Field(
        default={}, description="Further names of models; the name '*' stands for all that are not known."
    )
    tls_cert: Path | None = Field(default=None, description="Certificate to serve HTTPS with (PEM).")
    tls_key: Path | None = Field(default=None, description="The certificate's private key (PEM).")

    def tls(self) -> tuple[Path, Path] | None:
        """The files of HTTPS, None to serve HTTP.

        Raises:
            ConfigError: one without the other, or a file that is not there.

        """
        if self.tls_cert is None and self.tls_key is None:
            return None
        if self.tls_cert is None or self.tls_key is None:
            raise ConfigError("HTTPS needs both `tls_cert` and `tls_key`; one is missing. Set both or none.")
        for name, path in (("tls_cert", self.tls_cert), ("tls_key", self.tls_key)):
            if not path.is_file():
                raise ConfigError(f"`{name}` is '{path}', which is no file. Name the file in PEM form.")
        return self.tls_cert, self.tls_key

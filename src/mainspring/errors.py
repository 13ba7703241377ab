"""The one tree of errors.

MainspringError                exit 1, HTTP 500: something of ours or of the machine failed
├── UserError                  exit 2, HTTP 400: what was given is not what was expected
│   ├── ConfigError            an unknown key, a wrong type, a value out of range
│   ├── ChatError              messages in an order or with a role that no template accepts
│   ├── TemplateError          a chat template that does not compile or reaches for too much
│   ├── ContextLengthError     a prompt longer than the model's context
│   ├── DocumentError          a document or a folder of documents that cannot be read
│   ├── WeightsError           a model file that is truncated, edited or of an unknown kind
│   ├── ChecksumError          an artifact whose files are not the ones its manifest names
│   ├── NotFoundError          HTTP 404: no such artifact, run, model, document
│   ├── AuthenticationError    HTTP 401: a key that is not known
│   ├── BusyError              HTTP 409: another process holds what must be written
│   └── MissingExtraError      a package that only some users need is not installed
├── OverloadedError            HTTP 429: more requests than there is room for
├── DeadlineError              HTTP 408: a reply that was not done by the time its request allows
└── GateRefusedError           exit 3: the gate did not let a version pass

A message says what was given, what was expected and what to do.
"""


class MainspringError(Exception):
    """Any failure that Mainspring reports by itself."""

    exit_code = 1
    status = 500


class UserError(MainspringError):
    exit_code = 2
    status = 400


class ConfigError(UserError):
    pass


class ChatError(UserError):
    pass


class TemplateError(UserError):
    pass


class ContextLengthError(UserError):
    pass


class DocumentError(UserError):
    pass


class WeightsError(UserError):
    pass


class ChecksumError(UserError):
    pass


class NotFoundError(UserError):
    status = 404


class AuthenticationError(UserError):
    status = 401


class BusyError(UserError):
    status = 409


class MissingExtraError(UserError):
    def __init__(self, package: str, extra: str, why: str) -> None:
        super().__init__(
            f"{why} needs the package '{package}', which is not installed: pip install 'mainspring[{extra}]'"
        )


class OverloadedError(MainspringError):
    """`retry_after_s`: when it is worth trying again."""

    status = 429

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DeadlineError(MainspringError):
    status = 408


class GateRefusedError(MainspringError):
    exit_code = 3


def named(kind: str, message: str) -> MainspringError:
    """The error of a class's name, for one that came from another thread or process."""
    made: type[MainspringError] = globals().get(kind, MainspringError)
    return made.__new__(made, message)  # some are made of more than their message

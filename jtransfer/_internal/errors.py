"""Errors whose message is one line for the user."""


class RequestError(ValueError):
    """A request that cannot be served.

    Attributes:
      option: name of the argument at fault, without dashes, or None; the command line
        puts it before the message in its own spelling.
    """

    def __init__(self, message: str, *, option: str | None = None):
        super().__init__(message)
        self.option = option


class SourceError(ValueError):
    """A source that cannot be scored; its message is the reason in its row."""


class DataError(ValueError):
    """A fault of the data or of the request for it."""


def one_line(error: BaseException) -> str:
    """Returns the message of an error on one line."""
    return " ".join(str(error).split())

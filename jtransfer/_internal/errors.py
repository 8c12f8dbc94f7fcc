"""Errors whose message is one line for the user."""


class RequestError(ValueError):
    """A request that cannot be served."""


class ArgumentError(RequestError):
    """A request of which one argument is wrong."""

    def __init__(self, argument: str, text: str):
        """Takes the argument's name, and what follows it in the message."""
        super().__init__(f"{argument}{text}")
        self.argument, self.text = argument, text


class FileError(RequestError):
    """A file or folder that cannot be made or written."""


class SourceError(ValueError):
    """A source that cannot be scored; its message is the reason in its row."""


class DataError(ValueError):
    """A fault of the data or of the request for it."""


class MissingSplit(DataError):
    """A data set that lacks a split; any other fault of the split is another error."""


def callback_fault(error: Exception) -> str | None:
    """Returns the message of a `SourceError` that a callback of XLA has raised.

    Of such an error XLA keeps the text alone, behind that of its own.
    """
    _, mark, text = str(error).rpartition(f"{SourceError.__name__}: ")
    return " ".join(text.split()) if mark else None


def one_line(error: BaseException) -> str:
    """Returns the message of an error on one line."""
    return " ".join(str(error).split())

"""Errors whose message is one line for the user."""


class RequestError(ValueError):
    """A request that cannot be served."""


class FileError(RequestError):
    """A file or folder that cannot be made or written."""


class SourceError(ValueError):
    """A source that cannot be scored; its message is the reason in its row."""


class DataError(ValueError):
    """A fault of the data or of the request for it."""


class MissingSplit(DataError):
    """A data set that lacks a split; any other fault of the split is another error."""


def one_line(error: BaseException) -> str:
    """Returns the message of an error on one line."""
    return " ".join(str(error).split())

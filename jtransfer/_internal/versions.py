"""Versions of what is installed."""

import importlib.metadata


def installed_version(name: str) -> str | None:
    """Returns the version of a distribution, None if it is not installed.

    Example:
      >>> installed_version("no-such-distribution")
    """
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None

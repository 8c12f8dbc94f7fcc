"""Names that must be told apart."""

from collections import Counter
from collections.abc import Iterable


def repeated_name(names: Iterable[str]) -> str | None:
    """Returns the least name that occurs twice, None if all differ.

    Example:
      >>> repeated_name(["b", "a", "b"])
      'b'
    """
    counts = Counter(names)
    return min((name for name, count in counts.items() if count > 1), default=None)

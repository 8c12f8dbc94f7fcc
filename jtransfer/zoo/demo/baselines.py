"""Features that nobody has learned: what a pretrained model must beat."""

import re
import zlib
from collections.abc import Sequence

import numpy as np

_WORD = re.compile(r"[^\W_]+")


def pixel_rows(images: np.ndarray) -> np.ndarray:
    """Returns the pixels of images as features.

    Args:
      images: uint8 `[n, h, w, c]`.

    Returns:
      float32 `[n, h * w * c]` in [0, 1].

    Example:
      >>> pixel_rows(np.full((2, 3, 3, 1), 255, np.uint8)).shape
      (2, 9)
    """
    return images.reshape(len(images), -1).astype(np.float32) / 255


def hashed_words(texts: Sequence[str], *, num_columns: int = 128) -> np.ndarray:
    """Returns how often words occur in texts, the words dealt to columns by a hash.

    Args:
      texts: `n` of them.
      num_columns: words of one column count as one word. As many columns as texts
        would fit whatever labels these have.

    Returns:
      float32 `[n, num_columns]`, rows of length one; of a text without words zeros.

    Example:
      >>> rows = hashed_words(["Solve it", "solve", ""])
      >>> rows[1].argmax() == zlib.crc32(b"solve") % 128, float(rows[2].sum())
      (np.True_, 0.0)

    References:
      Weinberger et al., "Feature hashing for large scale multitask learning", 2009;
      without their second hash, of signs.
    """
    counts = np.zeros((len(texts), num_columns), np.float32)
    for row, text in zip(counts, texts, strict=True):
        for word in _WORD.findall(text.lower()):
            row[zlib.crc32(word.encode()) % num_columns] += 1
    lengths = np.linalg.norm(counts, axis=1, keepdims=True)
    return counts / np.where(lengths > 0, lengths, 1)

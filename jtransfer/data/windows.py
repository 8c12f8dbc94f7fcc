"""Class sets of the sliding window protocols."""

import numpy as np
from numpy.typing import ArrayLike


def sliding_windows(num_classes: int, *, size: int, step: int, seed: int) -> np.ndarray:
    """Returns the class sets of the sliding window protocol.

    The classes are shuffled once; the first window covers the first `size` of them
    and moves on by `step` until it covers the last ones. CIFAR-100 with ``size=50,
    step=10`` gives 6 sets, CUB with 200 classes and ``size=100, step=25`` gives 5.

    Args:
      num_classes: number of classes.
      size: classes in a window.
      step: classes from one window to the next.
      seed: of the shuffle, non-negative.

    Returns:
      Classes of each window, shape ``[num_windows, size]``.

    Raises:
      ValueError: if a window does not fit, or the last one would not end at the last
        class.

    Example:
      >>> windows = sliding_windows(100, size=50, step=10, seed=0)
      >>> [class_overlap(windows[0], window) for window in windows]
      [1.0, 0.8, 0.6, 0.4, 0.2, 0.0]

    References:
      Selective cross-task distillation, section 6.1.1.
    """
    if not 1 <= size <= num_classes or step < 1 or (num_classes - size) % step:
        raise ValueError(
            "size must lie in [1, num_classes] and step divide num_classes - size, "
            f"got {size}, {step} for {num_classes} classes."
        )
    order = np.random.default_rng(seed).permutation(num_classes)
    starts = np.arange(0, num_classes - size + 1, step)
    return order[starts[:, None] + np.arange(size)[None, :]]


def class_overlap(teacher_classes: ArrayLike, student_classes: ArrayLike) -> float:
    """Returns the share of the student's classes that the teacher knows.

    Args:
      teacher_classes: shape ``[s]``.
      student_classes: shape ``[t]``, not empty.

    Returns:
      The ratio g of the paper, in [0, 1].

    Example:
      >>> class_overlap([0, 1, 2, 3], [3, 4])
      0.5
    """
    return float(np.isin(student_classes, teacher_classes).mean())

"""Uncertainty of numbers: blocks of examples, jackknife, Student's t, Wilson.

Examples fall at random into ten blocks alike in size and classes; those of one group
fall into one block. The spread of what a statistic is without each block in turn gives
its standard error; the same blocks for two sources give that of their difference.
Everything random comes from a generator or a seed of NumPy, on the host.
"""

from jtransfer.intervals._dealing import (
    dealt_blocks,
    drawn_examples,
    group_blocks,
    order_by_class,
    positions_by_class,
    stratified_part,
)
from jtransfer.intervals._groups import (
    FEW_COPIES,
    copies,
    dealt_groups,
    group_numbers,
    joined_groups,
)
from jtransfer.intervals._labels import DealtLabels, dealt_labels
from jtransfer.intervals._numbers import (
    NUM_BLOCKS,
    NUM_SHUFFLES,
    T_95,
    Estimate,
    Interval,
    jackknife_interval,
    mean_interval,
    proportion_interval,
    standard_error,
)

__all__ = [
    "FEW_COPIES",
    "NUM_BLOCKS",
    "NUM_SHUFFLES",
    "T_95",
    "DealtLabels",
    "Estimate",
    "Interval",
    "copies",
    "dealt_blocks",
    "dealt_groups",
    "dealt_labels",
    "drawn_examples",
    "group_blocks",
    "group_numbers",
    "jackknife_interval",
    "joined_groups",
    "mean_interval",
    "order_by_class",
    "positions_by_class",
    "proportion_interval",
    "standard_error",
    "stratified_part",
]

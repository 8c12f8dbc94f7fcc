"""Examples that belong together: several images of a patient, copies of a row.

What is measured on examples held out is only then about new ones when nothing of their
group was seen before, so that whole groups are dealt to blocks and set aside.
"""

import numpy as np

FEW_COPIES = 0.02
"""The share of copies among examples below which they change nothing."""
_FEWEST_DISTINCT = 30  # With fewer rows than that they are levels and no copies.


def group_numbers(groups: np.ndarray) -> np.ndarray:
    """Returns the groups `[n]` numbered from 0 in their order."""
    return np.unique(groups, return_inverse=True)[1].reshape(-1)


def dealt_groups(
    groups: np.ndarray, labels: np.ndarray, num_blocks: int, rng: np.random.Generator
) -> np.ndarray:
    """Deals whole groups to blocks alike in size and, where groups allow, in classes.

    Groups come in random order, the largest first. Each goes to a block that is at most
    one largest group above the smallest one, the one with the least of the group's
    classes; so blocks differ by at most twice the largest group. Examples that are
    alone in their group then fill the blocks up, each class over all of them.

    Args:
      groups: the group of each example, `[n]`, any integers.
      labels: classes of the examples, `[n]`.
      num_blocks: number of blocks, none of which stays empty.
      rng: of the deal.

    Returns:
      The block of each example, `[n]`, integers.

    Raises:
      ValueError: if there are fewer groups than blocks.
    """
    groups, classes = group_numbers(groups), group_numbers(labels)
    sizes = np.bincount(groups)
    if len(sizes) < num_blocks:
        raise ValueError(
            f"groups has {len(sizes)} groups, which cannot be dealt to {num_blocks} "
            "blocks."
        )
    positions, starts = np.argsort(groups, kind="stable"), np.cumsum(sizes) - sizes
    shuffled, largest = rng.permutation(len(sizes)), sizes.max()
    shuffled = shuffled[np.argsort(-sizes[shuffled], kind="stable")]
    blocks = np.empty(len(groups), int)
    filled = np.zeros(num_blocks, int)
    counts = np.zeros((num_blocks, classes.max() + 1), int)
    for group in shuffled[sizes[shuffled] > 1]:
        members = positions[starts[group] : starts[group] + sizes[group]]
        own = np.bincount(classes[members], minlength=counts.shape[1])
        alike = np.where(filled <= filled.min() + largest, counts @ own, np.inf)
        block = np.lexsort((filled, alike))[0]
        blocks[members] = block
        filled[block] += sizes[group]
        counts[block] += own
    alone = positions[starts[shuffled[sizes[shuffled] == 1]]]
    alone = alone[np.argsort(classes[alone], kind="stable")]
    blocks[alone] = _places(filled, len(alone))
    return blocks


def _places(filled: np.ndarray, count: int) -> np.ndarray:
    """Blocks of `count` examples that fill up blocks, in turn."""
    level = np.sort(filled)
    room = np.cumsum(np.arange(len(level)) * np.diff(level, prepend=level[0]))
    open_blocks = int(np.searchsorted(room, count, side="right"))
    lowest = np.argsort(filled, kind="stable")[:open_blocks]
    total = filled[lowest].sum() + count
    heights = total // open_blocks + (np.arange(open_blocks) < total % open_blocks)
    missing = heights - filled[lowest]
    turns = np.concatenate([(np.arange(k) + 0.5) / k for k in missing if k > 0] or [[]])
    return np.repeat(lowest, np.maximum(missing, 0))[np.argsort(turns, kind="stable")]


def joined_groups(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns the finest groups that part neither any of `first` nor of `second`.

    Example:
      >>> joined_groups(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 2])).tolist()
      [0, 0, 0, 1]
    """
    import scipy.sparse

    first, second = group_numbers(first), group_numbers(second)
    shape = (first.max() + 1, second.max() + 1)
    edges = scipy.sparse.coo_array((np.ones(len(first)), (first, second)), shape)
    linked = scipy.sparse.block_array([[None, edges], [edges.T, None]])
    return scipy.sparse.csgraph.connected_components(linked)[1][first]


def permuted_by_group(
    positions: np.ndarray, groups: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Permutes examples such that neighbours within a group mostly stay neighbours.

    Returns:
      Where to and where from: the positions group by group, and the same with the
      groups in random order, and the members of each.
    """
    numbers = group_numbers(groups[positions])
    order = rng.permutation(numbers.max() + 1)[numbers]
    to = positions[np.argsort(numbers, kind="stable")]
    return to, positions[np.lexsort((rng.random(len(positions)), order))]


def copies(hashes: np.ndarray) -> np.ndarray | None:
    """Returns groups `[n]` of examples of equal hashes; None if those are few."""
    groups = group_numbers(hashes)
    distinct = groups.max(initial=-1) + 1
    many = len(groups) - distinct > FEW_COPIES * len(groups)
    return groups if many and distinct >= _FEWEST_DISTINCT else None

"""Tests of examples that belong together: dealt, shuffled and set aside as wholes."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jtransfer import intervals, zoo
from jtransfer._internal.errors import RequestError
from jtransfer.ranking import rank_sources, task_scores
from jtransfer.ranking.rows import Scored
from jtransfer.ranking.verification import head_accuracy, without_test_part
from jtransfer.zoo import task_targets

group_lists = st.lists(st.integers(0, 30), min_size=1, max_size=80)
NUM_GROUPS, SIZE, NUM_CLASSES = 40, 8, 4
GROUPS = np.random.default_rng(0).permutation(np.repeat(np.arange(NUM_GROUPS), SIZE))
LABELS = GROUPS % NUM_CLASSES


def per_group(values, seed=1, spread=0.1):
    """Rows that are those of their groups, nearly."""
    rng = np.random.default_rng(seed)
    return values[GROUPS] + spread * rng.normal(size=(len(GROUPS), values.shape[1]))


NOISE = per_group(np.random.default_rng(2).normal(size=(NUM_GROUPS, 64)))
USEFUL = NOISE[:, :8] + 2 * np.eye(NUM_CLASSES, 8)[LABELS]


def target(**fields):
    return zoo.labelled_target("target", LABELS, digest="", **fields)


def rows_by_score(features, a_target, scores=("ridge_probe", "logme"), **options):
    source = zoo.Source("source", {}, features=lambda: features, **options)
    rows = rank_sources([source], a_target, scores)
    return {row.score: row for row in rows if isinstance(row, Scored)}


@given(group_lists, st.integers(1, 12), st.integers(0, 2**16))
def test_whole_groups_in_blocks_alike_in_size(groups, num_blocks, seed):
    groups = np.array(groups)
    labels = np.random.default_rng(seed).integers(0, 3, size=len(groups))
    sizes = np.unique(groups, return_counts=True)[1]
    rng = np.random.default_rng(seed)
    if len(sizes) < num_blocks:
        with pytest.raises(ValueError, match="groups"):
            intervals.dealt_groups(groups, labels, num_blocks, rng)
        return
    blocks = intervals.dealt_groups(groups, labels, num_blocks, rng)
    for group in np.unique(groups):
        assert len(np.unique(blocks[groups == group])) == 1
    counts = np.bincount(blocks, minlength=num_blocks)
    assert len(counts) == num_blocks
    assert counts.min() > 0
    assert np.ptp(counts) <= 2 * sizes.max()


def test_groups_of_one_class_are_dealt_by_class():
    blocks = intervals.dealt_groups(GROUPS, LABELS, 10, np.random.default_rng(0))
    counts = np.zeros((10, NUM_CLASSES), int)
    np.add.at(counts, (blocks, LABELS), 1)
    assert (counts == SIZE).all()


def test_group_blocks_takes_texts_and_a_key():
    names = np.array([f"patient {i}" for i in GROUPS])
    first, again, other = (
        intervals.group_blocks(names, jax.random.key(seed)) for seed in (0, 0, 1)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(np.bincount(first), np.full(10, 4 * SIZE))
    with pytest.raises(ValueError, match="3 groups"):
        intervals.group_blocks(np.arange(3), jax.random.key(0))


@given(st.integers(0, 2**16))
def test_joined_groups_part_none(seed):
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 12, size=(2, 20))
    joined = intervals.joined_groups(first, second)
    links = (first[:, None] == first) | (second[:, None] == second)
    for _ in range(5):  # Paths of up to 32 links.
        links = links @ links
    assert np.array_equal(joined[:, None] == joined, links)


@pytest.mark.parametrize("batch_rows", [50, 4000])
def test_each_example_is_dealt_once_and_labels_move_with_groups(batch_rows):
    labels = np.where(GROUPS == 3, -1, LABELS)
    dealt = intervals.dealt_labels(
        labels, num_classes=NUM_CLASSES, batch_rows=batch_rows, seed=0, groups=GROUPS
    )
    for start, batch in enumerate(dealt.order):
        positions = np.sort(batch[batch >= 0])
        first = start * dealt.batch_size
        last = min(first + dealt.batch_size, len(labels))
        assert np.array_equal(positions, np.arange(first, last))
    blocks = np.concatenate([np.unique(dealt.order[:, block]) for block in range(10)])
    assert len(blocks[blocks >= 0]) == len(labels)
    for shuffled in dealt.shuffled:
        assert np.array_equal(np.bincount(shuffled + 1), np.bincount(labels + 1))
        # All groups are as large, so that each keeps one label.
        assert all(len(np.unique(shuffled[g == GROUPS])) == 1 for g in range(40))
    of_block = np.empty(len(labels), int)
    for block in range(10):
        used = dealt.order[:, block]
        of_block[used[used >= 0]] = block
    pairs = np.unique(np.c_[GROUPS, of_block][labels >= 0], axis=0)
    assert len(pairs) == NUM_GROUPS - 1


def test_a_group_that_is_known_tells_nothing_of_its_class():
    alone, together = (
        rows_by_score(NOISE, target(groups=groups)) for groups in (None, GROUPS)
    )
    assert alone["ridge_probe"].value > 0.9
    assert together["ridge_probe"].value < 0.45
    # Scores that hold nothing out stay as they are; what chance gives is told.
    assert together["logme"].value == pytest.approx(alone["logme"].value)
    assert alone["logme"].value > alone["logme"].chance + 1
    assert abs(together["logme"].value - together["logme"].chance) < 0.3
    assert any("shuffled" in warning for warning in together["logme"].warnings)


def test_intervals_are_of_groups():
    alone, together = (
        rows_by_score(USEFUL, target(groups=groups), ("regularized_h_score",))
        for groups in (None, GROUPS)
    )
    alone, together = (r["regularized_h_score"] for r in (alone, together))
    assert together.value == pytest.approx(alone.value)
    assert together.standard_error > 1.5 * alone.standard_error


def test_test_parts_are_of_groups():
    a_target = target(groups=GROUPS)
    labels = without_test_part(a_target, seed=0).labels
    assert (labels < 0).mean() == pytest.approx(0.2)
    assert not set(GROUPS[labels < 0]) & set(GROUPS[labels >= 0])
    source = zoo.Source("source", {}, features=lambda: NOISE)
    assert head_accuracy(source, a_target, seed=0).accuracy < 0.6
    assert head_accuracy(source, target(), seed=0).accuracy > 0.9


def test_too_few_groups_are_refused():
    few = target(groups=GROUPS % 11)
    with pytest.raises(RequestError, match=r"groups are left .* test_labels"):
        rank_sources([], few, verify=head_accuracy)
    assert rank_sources([], few) == []
    for groups, fault in (
        (GROUPS % 9, "9 groups"),
        (GROUPS[:5], "one an example"),
        (GROUPS / 2, "integers or texts"),
        (np.zeros(len(GROUPS), bool), "integers or texts"),
    ):
        with pytest.raises(RequestError, match=fault):
            target(groups=groups)


def test_groups_in_a_target_file(tmp_path):
    names = np.array([f"patient {i}" for i in GROUPS])
    np.savez(tmp_path / "target.npz", labels=LABELS, groups=names)
    read = zoo.target(str(tmp_path / "target.npz")).groups
    assert np.array_equal(read[:, None] == read, names[:, None] == names)


def test_copies_of_examples_stay_together():
    copied = NOISE[np.unique(GROUPS, return_index=True)[1]][GROUPS]
    rows = rows_by_score(copied, target())
    assert rows["ridge_probe"].value < 0.45
    assert any("stay in one block" in w for w in rows["ridge_probe"].warnings)
    # Rows of a few values are equal without being copies.
    indicators = np.eye(64)[GROUPS]
    assert rows_by_score(indicators, target())["ridge_probe"].value > 0.9


def test_copies_of_images_stay_together(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (NUM_GROUPS, 2, 2, 3), np.uint8)
    np.savez(tmp_path / "images.npz", images=images[GROUPS], labels=LABELS)
    options = {"per_class": None, "num_test": None, "seed": 0}
    read = zoo.image_target(f"npz:{tmp_path}/images.npz", **options).groups
    assert np.array_equal(read[:, None] == read, GROUPS[:, None] == GROUPS)
    np.savez(tmp_path / "single.npz", images=images, labels=np.arange(40) % 4)
    assert zoo.image_target(f"npz:{tmp_path}/single.npz", **options).groups is None


def test_tasks_have_groups_too(tmp_path):
    source = zoo.Source("source", {}, features=lambda: USEFUL[:, :3])
    rows = []
    for groups in ({}, {"groups": GROUPS}):
        np.savez(tmp_path / "task.npz", labels=LABELS, **groups)
        task = task_targets.task_target(
            tmp_path / "task.npz", num_levels=4, side=1, seed=0
        )
        rows += task_scores.task_rows(source, [task], seed=0)
    alone, together = rows
    assert together.value == alone.value
    assert together.standard_error > 1.5 * alone.standard_error
    np.savez(tmp_path / "task.npz", labels=LABELS, groups=GROUPS[1:])
    with pytest.raises(RequestError, match="one an example"):
        task_targets.task_target(tmp_path / "task.npz", num_levels=4, side=1, seed=0)

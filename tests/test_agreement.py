"""Tests of jtransfer.ranking.correlations."""

import numpy as np
import pytest
import references
from hypothesis import given
from hypothesis import strategies as st

from jtransfer.ranking import correlations

lists = st.integers(0, 2**16).map(
    lambda seed: np.random.default_rng(seed).integers(0, 6, size=(2, 9)).astype(float)
)


@given(lists)
def test_correlations_agree_with_scipy(pair):
    a, b = pair
    if len(set(a)) == 1 or len(set(b)) == 1:
        return
    assert correlations.pearson(a, b) == pytest.approx(references.pearson(a, b))
    assert correlations.spearman(a, b) == pytest.approx(references.spearman(a, b))
    weighted = references.weighted_kendall(a, b)
    assert correlations.weighted_kendall(a, b) == pytest.approx(weighted)


@pytest.mark.parametrize("name", ["pearson", "spearman", "weighted_kendall"])
def test_a_constant_list_agrees_with_nothing(name):
    correlation = getattr(correlations, name)
    assert correlation([1, 1, 1], [1, 2, 3]) == 0
    assert correlation([1, 2, 3], [1, 2, 3]) == pytest.approx(1)
    assert correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)


@given(lists)
def test_dcg_is_the_mean_over_the_orders_of_ties(pair):
    scores, relevance = pair
    rng = np.random.default_rng(0)
    orders = [rng.permutation(len(scores)) for _ in range(2000)]
    mean = np.mean([references.dcg(scores[o], relevance[o]) for o in orders])
    assert correlations.dcg(scores, relevance) == pytest.approx(mean, abs=0.3)
    distinct = scores + np.linspace(0, 0.5, len(scores))
    exact = references.dcg(distinct, relevance)
    assert correlations.dcg(distinct, relevance) == pytest.approx(exact)


def test_top_k_regret():
    scores, accuracies = [0.9, 0.8, 0.1], [0.5, 0.7, 0.8]
    regrets = [correlations.top_k_regret(scores, accuracies, k=k) for k in (1, 2, 3, 9)]
    np.testing.assert_allclose(regrets, [0.3, 0.1, 0, 0], atol=1e-12)
    assert correlations.top_k_regret([1, 1, 1], accuracies, k=1) == pytest.approx(0.3)
    assert correlations.top_k_regret([1, 1, 1], accuracies[::-1], k=1) == pytest.approx(
        0.3
    )


def test_rejects():
    with pytest.raises(ValueError, match="length"):
        correlations.pearson([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="k must"):
        correlations.top_k_regret([1, 2], [1, 2], k=0)

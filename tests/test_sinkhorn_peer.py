"""Our batches of transport problems against ott-jax, on costs that users meet."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ott.geometry.geometry import Geometry
from ott.problems.linear.linear_problem import LinearProblem
from ott.solvers.linear.sinkhorn import Sinkhorn

from jtransfer import sinkhorn
from jtransfer.assessment import DEFAULT_ASSESSMENT, fictitious_student
from jtransfer.zoo import embedded, embedded_sources

NUM = 12
TEMPERATURE, EPSILON, _ = DEFAULT_ASSESSMENT


def problems(name):
    """Teacher, student and cost as `select` and `distill` have them for a network."""
    (source,) = (source for source in embedded_sources() if source.name == name)
    images, labels = embedded.digits()
    kept = embedded.labelled_split(labels, per_class=20, seed=0)[0]
    features, labels = jnp.asarray(source.features()), labels[kept]
    student = fictitious_student(features, labels, num_classes=10, weight_decay=1e-3)
    means = sinkhorn.class_centers(features, labels, num_classes=10)
    cost = sinkhorn.cost_matrix(
        sinkhorn.classifier_centers(source.head()), sinkhorn.normalized_centers(means)
    )
    drawn = slice(0, len(kept), len(kept) // NUM)
    teacher = jax.nn.softmax(source.logits()[drawn] / TEMPERATURE)
    return teacher, jax.nn.softmax(student[drawn] / TEMPERATURE), cost


@pytest.mark.parametrize("log_domain", [True, False])
@pytest.mark.parametrize("name", ["fashion", "mnist-0-4"])
def test_real_costs_are_those_of_ott(name, log_domain):
    teacher, student, cost = problems(name)

    @jax.jit
    @jax.vmap
    def peer(p, q):
        problem = LinearProblem(Geometry(cost_matrix=cost, epsilon=EPSILON), p, q)
        output = Sinkhorn(threshold=1e-5, lse_mode=log_domain)(problem)
        return output.ent_reg_cost - EPSILON, output.converged

    with jax.numpy_rank_promotion("allow"):  # ott's own sums.
        expected, converged = peer(teacher, student)
    assert np.all(converged)
    result = sinkhorn.sinkhorn_distances(teacher, student, cost, epsilon=EPSILON)
    assert np.all(result.converged)
    np.testing.assert_allclose(result.distance, expected, rtol=1e-4, atol=1e-5)

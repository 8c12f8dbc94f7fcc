"""Costs between a teacher's classes and a student's.

`centred_cost` is the one to use: distances of centres whose mean was taken away and
whose length is one. `cost_matrix` alone, of centres as they are, is Eq. (7) as the
paper prints it, in which Eq. (8) has unit length and Eq. (6) has not, so that the
length of the features decides; of `normalized_centers`, their common mean does.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer._internal.linalg import matmul, root
from jtransfer.sinkhorn.centers import centred_centers, occurring_classes


@jax.jit
def centred_cost(
    teacher_centers: ArrayLike,
    student_centers: ArrayLike,
    *,
    teacher_counts: ArrayLike | None = None,
    student_counts: ArrayLike | None = None,
) -> jax.Array:
    r"""Computes the cost of a teacher's classes and a student's: centred, then scaled.

    .. math:: M_{mn} = \|\bar e_{T,m} - \bar e_{S,n}\|_2

    with `centred_centers` of each side. Costs lie in ``[0, 2]``, and are the same for
    features that are moved or rotated, and for a classifier to whose columns one vector
    was added.

    Args:
      teacher_centers: centres of the teacher's classes, shape ``[Ct, d]``: the columns
        of its last layer, or mean features.
      student_centers: mean features of the student's classes, shape ``[Cs, d]``.
      teacher_counts: examples of the teacher's classes, shape ``[Ct]``; None if all
        have a centre.
      student_counts: examples of the student's classes, shape ``[Cs]``; likewise.

    Returns:
      The costs, shape ``[Ct, Cs]``. A class without examples is neither near nor far:
      its costs are the mean of all others.

    Raises:
      ValueError: if the centres are not matrices of one number of features.
      TypeError: if they are not floating-point.

    Example:
      >>> teacher = jnp.array([[9.0, 1.0], [9.0, -1.0]])
      >>> print(centred_cost(teacher, teacher + 5))
      [[0. 2.]
       [2. 0.]]

    References:
      Lu, Ye and Zhan, "Selective Cross-Task Distillation", Eqs. (6) to (8), but for the
      centring, and the scaling of Eq. (6).
    """
    teacher_centers, student_centers = map(
        jnp.asarray, (teacher_centers, student_centers)
    )
    cost = cost_matrix(
        centred_centers(teacher_centers, counts=teacher_counts),
        centred_centers(student_centers, counts=student_counts),
    )
    known = (
        occurring_classes(teacher_counts, cost.shape[0])[:, None]
        & occurring_classes(student_counts, cost.shape[1])[None]
    )
    num_known = jnp.maximum(jnp.sum(known.astype(cost.dtype)), 1)
    return jnp.where(known, cost, jnp.sum(jnp.where(known, cost, 0)) / num_known)


@jax.jit
def transported_probs(
    teacher_probs: ArrayLike, cost: ArrayLike, *, epsilon: ArrayLike
) -> jax.Array:
    r"""Computes the student's probabilities that a Sinkhorn distance asks for.

    .. math:: \arg\min_p S_\epsilon(p_T, p; M) = P^T p_T, \quad
              P_{mn} = \frac{e^{-M_{mn} / \epsilon}}{\sum_k e^{-M_{mk} / \epsilon}},

    in closed form: with a free second margin each row of the plan is that of the
    kernel. It is what a student at its optimum predicts, and a soft target for classes
    that the teacher does not know.

    Args:
      teacher_probs: probabilities of the teacher's classes, shape ``[n, Ct]``.
      cost: costs between the classes, shape ``[Ct, Cs]``.
      epsilon: strength of the entropy, positive.

    Returns:
      Probabilities of the student's classes, shape ``[n, Cs]``.

    Raises:
      ValueError: if the shapes do not agree.
      TypeError: if an array is not floating-point.

    Example:
      >>> probs, cost = jnp.array([[1.0, 0.0]]), jnp.array([[0.0, 9.0], [9.0, 0.0]])
      >>> transported_probs(probs, cost, epsilon=0.1).tolist()
      [[1.0, 0.0]]
    """
    teacher_probs, cost = jnp.asarray(teacher_probs), jnp.asarray(cost)
    for name, array in (("teacher_probs", teacher_probs), ("cost", cost)):
        checks.num_axes(name, array, 2)
        checks.floating(name, array)
    if teacher_probs.shape[1] != cost.shape[0]:
        raise ValueError(
            f"teacher_probs {teacher_probs.shape} and cost {cost.shape} must have one "
            "number of the teacher's classes."
        )
    return matmul(teacher_probs, jax.nn.softmax(-cost / epsilon, axis=1))


class CostContrast(NamedTuple):
    """Numbers that say how well a cost tells classes apart, for an epsilon."""

    gap: jax.Array
    """Mean over the teacher's classes of what the other classes cost more than the
    nearest, or the same, in units of epsilon, `[]`. Below about 4 the plan spreads over
    all classes."""
    own_mass: jax.Array
    """Mean share of a teacher's class that the kernel leaves on that class, `[]`."""


@jax.jit
def cost_contrast(
    cost: ArrayLike, *, epsilon: ArrayLike, same: ArrayLike | None = None
) -> CostContrast:
    """Computes how well a cost tells classes apart.

    Args:
      cost: costs between the classes, shape ``[Ct, Cs]``.
      epsilon: strength of the entropy, positive.
      same: whether a teacher's and a student's class are the same, shape ``[Ct, Cs]``;
        rows without a same class, and all of them if None, take their nearest class.

    Returns:
      The gap and the mass; with a single class of the student 0 and 1.

    Raises:
      ValueError: if the shapes do not agree.
      TypeError: if the cost is not floating-point.

    Example:
      >>> contrast = cost_contrast(2 * (1 - jnp.eye(3)), epsilon=0.1)
      >>> float(contrast.gap), float(contrast.own_mass)
      (20.0, 1.0)
    """
    cost = jnp.asarray(cost)
    checks.num_axes("cost", cost, 2)
    checks.floating("cost", cost)
    own = jax.nn.one_hot(jnp.argmin(cost, axis=1), cost.shape[1], dtype=bool)
    if same is not None:
        same = jnp.asarray(same, bool)
        if same.shape != cost.shape:
            raise ValueError(f"same {same.shape} and cost {cost.shape} must agree.")
        own = jnp.where(jnp.any(same, axis=1, keepdims=True), same, own)
    num_own = jnp.sum(own.astype(cost.dtype), axis=1)
    num_others = jnp.maximum(cost.shape[1] - num_own, 1)
    of_own = jnp.sum(jnp.where(own, cost, 0), axis=1) / num_own
    of_others = jnp.sum(jnp.where(own, 0, cost), axis=1) / num_others
    gap = jnp.where(num_own < cost.shape[1], of_others - of_own, 0)
    mass = jnp.sum(jnp.where(own, jax.nn.softmax(-cost / epsilon, axis=1), 0), axis=1)
    return CostContrast(jnp.mean(gap) / epsilon, jnp.mean(mass))


@jax.jit
def cost_matrix(teacher_centers: ArrayLike, student_centers: ArrayLike) -> jax.Array:
    r"""Computes the Euclidean distances between two sets of class centres.

    .. math:: M_{mn} = \|e_{T,m} - e_{S,n}\|_2.

    From differences, not from products, so that near centres keep their distance and
    equal ones have distance zero; only its gradient takes ``O(Ct Cs d)`` memory. What
    matters to `sinkhorn_distance` is ``max(M) / epsilon``: report it.

    Args:
      teacher_centers: centres of the teacher's classes, shape ``[Ct, d]``.
      student_centers: centres of the student's classes, shape ``[Cs, d]``.

    Returns:
      The distances, shape ``[Ct, Cs]``. The gradient of a zero distance is zero.

    Raises:
      ValueError: if the centres are not matrices of one number of features.
      TypeError: if they are not floating-point.

    Example:
      >>> cost_matrix(jnp.array([[0.0, 0.0]]), jnp.array([[3.0, 4.0], [0.0, 0.0]]))
      Array([[5., 0.]], dtype=float32)

    References:
      Lu, Ye and Zhan, "Selective Cross-Task Distillation", Eq. (7).
    """
    teacher_centers = jnp.asarray(teacher_centers)
    student_centers = jnp.asarray(student_centers)
    for name, array in (
        ("teacher_centers", teacher_centers),
        ("student_centers", student_centers),
    ):
        checks.num_axes(name, array, 2)
        checks.floating(name, array)
    if teacher_centers.shape[1] != student_centers.shape[1]:
        raise ValueError(
            "Centres must have one number of features, got shapes "
            f"{teacher_centers.shape} and {student_centers.shape}."
        )
    differences = teacher_centers[:, None, :] - student_centers[None, :, :]
    return root(jnp.sum(differences**2, axis=2))


def constant_cost(
    teacher_classes: Sequence[str | int], student_classes: Sequence[str | int]
) -> jax.Array:
    """Computes the cost that knows only which classes are the same.

    Args:
      teacher_classes: names or identifiers of the teacher's classes, length ``Ct``.
      student_classes: names or identifiers of the student's, length ``Cs``. The two
        must come from one list: the same class has the same name whatever its index.

    Returns:
      0 where the classes are the same and 1 elsewhere, shape ``[Ct, Cs]``.

    Raises:
      ValueError: if one of them is not a list.
      TypeError: if one holds names and the other numbers.

    Example:
      >>> constant_cost(["cat", "dog"], ["dog", "tiger"]).tolist()
      [[1.0, 1.0], [0.0, 1.0]]

    References:
      Lu, Ye and Zhan, "Selective Cross-Task Distillation", section 6.1.6, I.
    """
    teacher_classes, student_classes = map(
        np.asarray, (teacher_classes, student_classes)
    )
    for name, array in (
        ("teacher_classes", teacher_classes),
        ("student_classes", student_classes),
    ):
        checks.num_axes(name, array, 1)
        if array.dtype.kind not in "iuU":
            raise TypeError(f"{name} must hold names or integers, got {array.dtype}.")
    if (teacher_classes.dtype.kind == "U") != (student_classes.dtype.kind == "U"):
        raise TypeError("Classes must be names on both sides or integers on both.")
    different = teacher_classes[:, None] != student_classes[None, :]
    return jnp.asarray(different, jnp.result_type(float))


def superclass_cost(
    teacher_superclasses: Sequence[str | int],
    student_superclasses: Sequence[str | int],
) -> jax.Array:
    """Computes the cost that knows only which classes share a superclass.

    Args:
      teacher_superclasses: superclass of each of the teacher's classes, ``Ct`` names
        or identifiers.
      student_superclasses: superclass of each of the student's classes, length ``Cs``.

    Returns:
      0 within a superclass and 1 elsewhere, shape ``[Ct, Cs]``.

    Raises:
      ValueError: if one of them is not a list.
      TypeError: if one holds names and the other numbers.

    Example:
      >>> superclass_cost(["pets", "cars"], ["pets", "pets"]).tolist()
      [[0.0, 0.0], [1.0, 1.0]]

    References:
      Lu, Ye and Zhan, "Selective Cross-Task Distillation", section 6.1.6, III.
    """
    return constant_cost(teacher_superclasses, student_superclasses)

"""Class centres, and the costs between a teacher's and a student's classes.

The cost of Eq. (7) of the paper is `cost_matrix` of two sets of centres. Where these
come from decides the variant: features of the teacher with `class_centers` (Eq. 6), its
classifier with `classifier_centers` (Eq. 8), and for the ablations of Table 8 features
of a network that was never trained, or of a shallower one. Eq. (8) has unit length and
Eq. (6) has not, so the length of the features dominates the cost between the two; with
`normalized_centers` of both, costs lie in ``[0, 2]``.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer._internal.linalg import root, unit
from jtransfer.moments import class_moments


@jax.jit(static_argnames=("num_classes",))
def class_centers(
    features: ArrayLike, labels: ArrayLike, *, num_classes: int
) -> jax.Array:
    r"""Computes the mean feature of each class.

    .. math:: e_n = \frac{1}{|D^n|} \sum_{x \in D^n} \phi(x).

    Args:
      features: floating-point features, shape ``[n, d]``.
      labels: integer classes, shape ``[n]``; an example with a label outside
        ``[0, num_classes)`` is left out.
      num_classes: number ``C`` of classes; static.

    Returns:
      The centres, shape ``[C, d]``; that of a class without examples is the mean of
      all features.

    Raises:
      ValueError: if the shapes do not agree.
      TypeError: if features are not floating-point or labels not integers.

    Example:
      >>> features = jnp.array([[0.0, 1.0], [2.0, 1.0], [5.0, 0.0]])
      >>> class_centers(features, jnp.array([0, 0, 1]), num_classes=2).tolist()
      [[1.0, 1.0], [5.0, 0.0]]

    References:
      Lu, Ye and Zhan, "Selective Cross-Task Distillation", Eq. (6).
    """
    moments = class_moments(features, labels, num_classes=num_classes)
    counts = jnp.maximum(moments.counts, 1).astype(moments.mean.dtype)
    return moments.mean[None] + moments.class_sums / counts[:, None]


@jax.jit
def classifier_centers(weights: ArrayLike) -> jax.Array:
    r"""Computes class centres from the weights of a teacher's last layer.

    .. math:: e_m = W_{:, m} / \|W_{:, m}\|_2.

    They stand in for the centres of data that is not at hand, of length one.

    Args:
      weights: floating-point weights of the last linear layer, shape ``[d, C]``.

    Returns:
      The centres, shape ``[C, d]``; zero for a column of zeros.

    Raises:
      ValueError: if `weights` is not a matrix.
      TypeError: if it is not floating-point.

    Example:
      >>> classifier_centers(jnp.array([[3.0, 0.0], [4.0, 2.0]])).round(3).tolist()
      [[0.6..., 0.8...], [0.0, 1.0]]

    References:
      Lu, Ye and Zhan, "Selective Cross-Task Distillation", Eq. (8).
    """
    weights = jnp.asarray(weights)
    checks.num_axes("weights", weights, 2)
    return normalized_centers(weights.T)


@jax.jit
def normalized_centers(centers: ArrayLike) -> jax.Array:
    """Scales class centres to length one.

    Args:
      centers: floating-point centres, shape ``[C, d]``.

    Returns:
      The scaled centres, shape ``[C, d]``; a zero stays zero, with gradient zero.

    Raises:
      ValueError: if `centers` is not a matrix.
      TypeError: if it is not floating-point.

    Example:
      >>> normalized_centers(jnp.array([[0.0, 5.0], [0.0, 0.0]])).tolist()
      [[0.0, 1.0], [0.0, 0.0]]
    """
    centers = jnp.asarray(centers)
    checks.num_axes("centers", centers, 2)
    checks.floating("centers", centers)
    return unit(centers)


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

"""Convergence of the gradient of the Sinkhorn distance, in the log domain."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer.sinkhorn._log_kernel import log_kernels, log_sums, positive_probs


@jax.jit
def variation_seminorm(x: ArrayLike) -> jax.Array:
    r"""Computes the variation seminorm of a vector, its largest less its least entry.

    It is zero for a constant vector: potentials and gradients by probabilities are
    defined up to a constant, and this is how they are compared.

    Args:
      x: floating-point numbers, shape ``[r]``.

    Returns:
      The seminorm, shape ``[]``.

    Raises:
      ValueError: if `x` is not a vector.
      TypeError: if it is not floating-point.

    Example:
      >>> float(variation_seminorm(jnp.array([5.0, 7.0, 6.0])))
      2.0

    References:
      Peyré and Cuturi, "Computational Optimal Transport", Remark 4.13.
    """
    x = jnp.asarray(x)
    checks.num_axes("x", x, 1)
    checks.floating("x", x)
    return jnp.max(x) - jnp.min(x)


@jax.jit
def contraction_rate(cost: ArrayLike, *, epsilon: float = 0.1) -> jax.Array:
    r"""Computes by how much a Gibbs kernel contracts Hilbert's projective metric.

    .. math:: \kappa(K) = \frac{\sqrt{\psi} - 1}{\sqrt{\psi} + 1}
              = \tanh \frac{\log \psi}{4}, \quad
              \psi = \max_{i,j,k,l} \frac{K_{ik} K_{jl}}{K_{jk} K_{il}}, \quad
              K = e^{-M / \epsilon}.

    The metric, `variation_seminorm` of ``log x - log y``, of ``K x`` and ``K y`` is at
    most :math:`\kappa` times that of ``x`` and ``y``, and an iteration of Sinkhorn's
    algorithm brings the gradient :math:`\kappa^2` nearer. From ``max(cost) / epsilon``
    of about 10 the promise is empty: :math:`\kappa` is within ``1e-4`` of one. The cost
    is ``O(Ct^2 Cs)``.

    Args:
      cost: finite costs :math:`M`, shape ``[Ct, Cs]``.
      epsilon: strength of the entropy, positive.

    Returns:
      The rate in ``[0, 1]``, shape ``[]``.

    Raises:
      ValueError: if `cost` is not a matrix.
      TypeError: if it is not floating-point.

    Example:
      >>> round(float(contraction_rate(0.1 - 0.1 * jnp.eye(2))), 3)
      0.462

    References:
      Lu, Ye and Zhan, "Selective Cross-Task Distillation", Theorem B.2 (after
      Birkhoff, 1957).
    """
    return jnp.tanh(_log_psi(cost, epsilon) / 4)


@jax.jit(static_argnames=("num_iterations",))
def gradient_bound(
    initial_error: ArrayLike,
    cost: ArrayLike,
    *,
    epsilon: float = 0.1,
    num_iterations: int,
) -> jax.Array:
    r"""Computes the bound on the gradient's error after each iteration.

    .. math:: \|g^{(t)} - g\|_{\mathrm{var}} \le \kappa^{2 t}
              \|g^{(0)} - g\|_{\mathrm{var}}.

    It falls, if slowly, even where :math:`\kappa` itself would round to one.

    Args:
      initial_error: variation seminorm of the first error, shape ``[]``.
      cost: finite costs, shape ``[Ct, Cs]``.
      epsilon: strength of the entropy, positive.
      num_iterations: number of iterations; static.

    Returns:
      The bounds for ``t = 0, ..., num_iterations``, shape ``[num_iterations + 1]``.

    Raises:
      ValueError: if the shapes are not as above.
      TypeError: if `cost` is not floating-point.

    Example:
      >>> bounds = gradient_bound(1.0, 0.1 - 0.1 * jnp.eye(2), num_iterations=2)
      >>> [round(float(bound), 3) for bound in bounds]
      [1.0, 0.214, 0.046]

    References:
      Lu, Ye and Zhan, "Selective Cross-Task Distillation", Proposition 4.3, Eq. (22).
    """
    initial_error = jnp.asarray(initial_error)
    checks.num_axes("initial_error", initial_error, 0)
    checks.positive("num_iterations", num_iterations)
    log_psi = _log_psi(cost, epsilon)
    # log tanh(x) = log(1 - exp(-2 x)) - log(1 + exp(-2 x)); minus infinity at zero.
    small = jnp.exp(-log_psi / 2)
    log_rate = jnp.log1p(-small) - jnp.log1p(small)
    steps = jnp.arange(1, num_iterations + 1, dtype=log_psi.dtype)
    return initial_error * jnp.append(
        jnp.ones_like(log_psi), jnp.exp(2 * steps * log_rate)
    )


@jax.jit(static_argnames=("num_iterations",))
def student_gradients(
    teacher_probs: ArrayLike,
    student_probs: ArrayLike,
    cost: ArrayLike,
    *,
    epsilon: float = 0.1,
    num_iterations: int,
) -> jax.Array:
    r"""Computes the gradient by the student's probabilities after each iteration.

    That is :math:`\epsilon \log v^{(t)}` of Algorithm 3, which starts from
    :math:`v^{(0)} = 1` and updates first :math:`u`, then :math:`v`. For a batch, use
    `jax.vmap`.

    Args:
      teacher_probs: probabilities of the teacher's classes, shape ``[Ct]``.
      student_probs: probabilities of the student's classes, shape ``[Cs]``; a zero
        counts as the smallest normal number.
      cost: finite costs, shape ``[Ct, Cs]``.
      epsilon: strength of the entropy, positive.
      num_iterations: number of iterations; static.

    Returns:
      The gradients for ``t = 0, ..., num_iterations``, defined up to a constant each,
      shape ``[num_iterations + 1, Cs]``.

    Raises:
      ValueError: if the shapes are not as above.
      TypeError: if the arrays are not floating-point.

    Example:
      >>> same, other = jnp.array([0.9, 0.1]), jnp.array([0.1, 0.9])
      >>> gradients = student_gradients(same, other, 1 - jnp.eye(2), num_iterations=5)
      >>> [round(float(variation_seminorm(gradient)), 2) for gradient in gradients]
      [0.0, 0.44, 0.88, 1.18, 1.21, 1.21]

    References:
      Lu, Ye and Zhan, "Selective Cross-Task Distillation", Algorithm 3 and Figure 3.
    """
    teacher_probs, student_probs = map(jnp.asarray, (teacher_probs, student_probs))
    cost = _checked_cost(cost)
    for name, probs, num_classes in (
        ("teacher_probs", teacher_probs, cost.shape[0]),
        ("student_probs", student_probs, cost.shape[1]),
    ):
        checks.floating(name, probs)
        if probs.shape != (num_classes,):
            raise ValueError(
                f"{name} must have shape ({num_classes},) for this cost, got "
                f"{probs.shape}."
            )
    checks.positive("num_iterations", num_iterations)
    by_row, by_column = log_kernels(cost / epsilon)
    log_teacher = jnp.log(positive_probs(teacher_probs))
    log_student = jnp.log(positive_probs(student_probs))

    def improved(potentials, _):
        others = log_teacher[None] - log_sums(potentials, by_row)
        potentials = log_student[None] - log_sums(others, by_column)
        return potentials, potentials[0]

    start = jnp.zeros_like(log_student)[None]
    _, later = jax.lax.scan(improved, start, length=num_iterations)
    return epsilon * jnp.concatenate([start, later])


def _log_psi(cost, epsilon):
    cost = _checked_cost(cost)

    def largest(row):
        differences = row[None] - cost
        return jnp.max(jnp.max(differences, axis=1) - jnp.min(differences, axis=1))

    return jnp.max(jax.lax.map(largest, cost)) / epsilon


def _checked_cost(cost):
    cost = jnp.asarray(cost)
    checks.num_axes("cost", cost, 2)
    checks.floating("cost", cost)
    return cost

"""What WCoRD keeps between batches: heads, a critic, and their outputs by example."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from jtransfer._internal import checks
from jtransfer._internal.linalg import matmul
from jtransfer.distillation import _vectors


class LinearHead(NamedTuple):
    """A linear layer with bias."""

    kernel: jax.Array
    """Weights, `[inputs, dim]`."""
    bias: jax.Array
    """`[dim]`."""


class Projections(NamedTuple):
    """Heads of both networks and the critic of their outputs, trained together."""

    teacher: LinearHead
    """From an embedding of the teacher, `[dt]`, to `[dim]`."""
    student: LinearHead
    """From an embedding of the student, `[ds]`, to `[dim]`."""
    critic: LinearHead
    """Its first layer, from the outputs of teacher and student, `[2 * dim]`."""
    critic_output: jax.Array
    """Weights of its second layer, `[dim]`."""


class Memory(NamedTuple):
    """The last outputs of the heads for each training example, and of the critic."""

    teacher: jax.Array
    """Rows of length one, `[N, dim]`."""
    student: jax.Array
    """Rows of length one, `[N, dim]`."""
    direction: jax.Array
    """Estimated first singular vector of the critic's first layer, `[dim]`."""


def wcord_parameters(
    key: jax.Array,
    *,
    teacher_dim: int,
    student_dim: int,
    dim: int = 128,
    dtype: DTypeLike = float,
) -> Projections:
    """Draws the heads and the critic.

    Args:
      key: randomness.
      teacher_dim: length ``dt`` of the teacher's embeddings; static.
      student_dim: length ``ds`` of the student's embeddings; static.
      dim: length of the heads' outputs, and the width of the critic; static.
      dtype: floating-point type of the parameters; static.

    Returns:
      The parameters: kernels of variance ``1 / fan-in``, biases zero.

    Raises:
      ValueError: if a size is less than 1.

    Example:
      >>> params = wcord_parameters(
      ...     jax.random.key(0), teacher_dim=6, student_dim=4, dim=3
      ... )
      >>> params.teacher.kernel.shape, params.critic.kernel.shape
      ((6, 3), (6, 3))

    References:
      Chen et al., "Wasserstein Contrastive Representation Distillation", 2021.
    """
    sizes = {"teacher_dim": teacher_dim, "student_dim": student_dim, "dim": dim}
    for name, size in sizes.items():
        checks.positive(name, size)
    normal = jax.nn.initializers.lecun_normal()
    keys = jax.random.split(key, 4)
    kernels = [
        normal(keys[i], (inputs, outputs), dtype)
        for i, (inputs, outputs) in enumerate(
            ((teacher_dim, dim), (student_dim, dim), (2 * dim, dim), (dim, 1))
        )
    ]
    heads = [LinearHead(kernel, jnp.zeros(dim, dtype)) for kernel in kernels[:3]]
    return Projections(*heads, critic_output=kernels[3][:, 0])


def wcord_memory(
    key: jax.Array, *, num_examples: int, dim: int = 128, dtype: DTypeLike = float
) -> Memory:
    """Draws a first memory: random directions.

    Args:
      key: randomness.
      num_examples: number ``N`` of training examples; static.
      dim: length of the heads' outputs; static.
      dtype: floating-point type of the memory; static.

    Returns:
      The memory, of ``2 N dim`` numbers.

    Raises:
      ValueError: if a size is less than 1.

    Example:
      >>> memory = wcord_memory(jax.random.key(0), num_examples=5, dim=3)
      >>> memory.teacher.shape, memory.student.shape, memory.direction.shape
      ((5, 3), (5, 3), (3,))

    References:
      Chen et al., "Wasserstein Contrastive Representation Distillation", 2021.
    """
    checks.positive("num_examples", num_examples)
    checks.positive("dim", dim)
    rows = jax.random.normal(key, (2 * num_examples + 1, dim), dtype)
    rows = _vectors.unit_directions(rows)
    return Memory(rows[:num_examples], rows[num_examples:-1], rows[-1])


@jax.jit
def renewed_memory(
    params: Projections,
    memory: Memory,
    teacher_embeddings: ArrayLike,
    student_embeddings: ArrayLike,
    indices: ArrayLike,
    *,
    momentum: ArrayLike = 0.5,
) -> Memory:
    r"""Returns the memory with a batch's rows moved towards their present outputs.

    .. math:: v_i \leftarrow \frac{\mu v_i + (1 - \mu) u_i}{\|\mu v_i + (1 - \mu)
              u_i\|_2},

    with the output :math:`u_i` of a head, scaled to length one. Of an index that occurs
    more than once in the batch the outputs are averaged, so the order does not matter.
    All other rows stay. The critic's direction makes one step of the power iteration.
    Call it once a batch, after the loss.

    Args:
      params: heads and critic.
      memory: the memory.
      teacher_embeddings: embeddings of the teacher, shape ``[n, dt]``.
      student_embeddings: embeddings of the student, shape ``[n, ds]``.
      indices: which training examples these are, integers in ``[0, N)``, shape ``[n]``.
      momentum: weight of the old row, in ``[0, 1]``.

    Returns:
      The memory.

    Raises:
      ValueError: if the shapes do not agree or there is no example.
      TypeError: if the indices are not integers or the others not floating-point.

    Example:
      >>> params = wcord_parameters(
      ...     jax.random.key(0), teacher_dim=2, student_dim=2, dim=3
      ... )
      >>> memory = wcord_memory(jax.random.key(1), num_examples=4, dim=3)
      >>> rows, indices = jnp.eye(2), np.array([3, 1])
      >>> later = renewed_memory(params, memory, rows, rows, indices)
      >>> jnp.any(later.teacher != memory.teacher, axis=1).tolist()
      [False, True, False, True]

    References:
      Chen et al., "Wasserstein Contrastive Representation Distillation", 2021. Miyato
      et al., "Spectral Normalization for Generative Adversarial Networks", 2018.
    """
    teacher, student = unit_outputs(params, teacher_embeddings, student_embeddings)
    indices = checked_indices("indices", indices, 1)
    checks.same_length(embeddings=teacher, indices=indices)
    check_memory(params, memory)
    same = (indices[:, None] == indices[None]).astype(teacher.dtype)
    shares = same / jnp.sum(same, axis=1, keepdims=True)
    first = jnp.argmax(same, axis=1)

    def renewed(rows, outputs):
        outputs = matmul(shares, outputs)
        mixed = momentum * rows[indices] + (1 - momentum) * outputs
        # Equal indices write one row, to the last bit.
        return rows.at[indices].set(_vectors.unit_directions(mixed)[first])

    kernel = params.critic.kernel
    direction = _vectors.unit_directions(
        matmul(other_side(kernel, memory.direction), kernel)
    )
    return Memory(
        teacher=renewed(memory.teacher, teacher),
        student=renewed(memory.student, student),
        # A critic of zeros would leave none to start from.
        direction=jnp.where(jnp.any(direction != 0), direction, memory.direction),
    )


@jax.jit(static_argnames=("num_examples", "num_negatives"))
def drawn_negatives(
    key: jax.Array, indices: ArrayLike, *, num_examples: int, num_negatives: int
) -> jax.Array:
    """Draws other training examples for each one, with repetition.

    Args:
      key: randomness.
      indices: which training examples these are, integers in ``[0, N)``, shape ``[n]``.
      num_examples: number ``N`` of training examples, at least 2; static.
      num_negatives: number ``K`` of draws for each; static. 16384 in the code of CRD.

    Returns:
      Indices of the others, uniform over all but the example itself, shape ``[n, K]``.

    Raises:
      ValueError: if the indices have not one axis or a number is too small.
      TypeError: if they are not integers.

    Example:
      >>> drawn_negatives(
      ...     jax.random.key(0), np.array([0, 1]), num_examples=2, num_negatives=3
      ... ).tolist()
      [[1, 1, 1], [0, 0, 0]]

    References:
      Tian et al., "Contrastive Representation Distillation", 2020, released code, which
      may draw the example itself.
    """
    indices = checked_indices("indices", indices, 1)
    checks.positive("num_negatives", num_negatives)
    checks.positive("the number of other examples", num_examples - 1)
    shape = (len(indices), num_negatives)
    drawn = jax.random.randint(key, shape, 0, num_examples - 1, jnp.int32)
    return drawn + (drawn >= indices[:, None]).astype(jnp.int32)


def unit_outputs(
    params: Projections, teacher_embeddings: ArrayLike, student_embeddings: ArrayLike
) -> list[jax.Array]:
    """Returns the outputs of both heads `[n, dim]`, rows of length one, or raises."""
    pair = _vectors.checked_vectors(
        2, teacher_embeddings=teacher_embeddings, student_embeddings=student_embeddings
    )
    checks.same_length(teacher_embeddings=pair[0], student_embeddings=pair[1])
    outputs = []
    for name, head, rows in zip(Projections._fields, params, pair, strict=False):
        if rows.shape[1] != head.kernel.shape[0]:
            raise ValueError(
                f"{name}_embeddings must be of length {head.kernel.shape[0]} for these "
                f"parameters, got {rows.shape[1]}."
            )
        outputs.append(
            _vectors.unit_directions(matmul(rows, head.kernel) + head.bias[None])
        )
    return outputs


def checked_indices(name: str, indices: ArrayLike, num_axes: int) -> jax.Array:
    """Returns indices of some axes as int32, or raises."""
    indices = jnp.asarray(indices)
    checks.integer(name, indices)
    checks.num_axes(name, indices, num_axes)
    return indices.astype(jnp.int32)  # Those of 8 bits wrap.


def check_memory(params: Projections, memory: Memory) -> None:
    """Raises ValueError unless a memory is of the length of the heads' outputs."""
    shapes = memory.teacher.shape, memory.student.shape, memory.direction.shape
    dim = params.critic_output.shape[0]
    if shapes != ((len(memory.teacher), dim), (len(memory.teacher), dim), (dim,)):
        raise ValueError(
            f"The memory must be of length {dim} for these parameters, got shapes "
            f"{shapes}."
        )


def other_side(kernel: jax.Array, direction: jax.Array) -> jax.Array:
    """Returns the unit vector of the inputs that belongs to one of the outputs."""
    return _vectors.unit_directions(matmul(kernel, direction))

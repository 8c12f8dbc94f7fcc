"""Attention-based feature distillation: which maps of the student learn from which."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from jtransfer._internal import checks, linalg
from jtransfer._internal.linalg import matmul
from jtransfer.distillation import _maps, _vectors

_LEAST_VARIANCE = 1e-5


class NormalizedLayer(NamedTuple):
    """A linear layer without bias, and the normalisation of its outputs."""

    kernel: jax.Array
    """Weights, `[inputs, outputs]`."""
    scale: jax.Array
    """Factor of each output after the normalisation, `[outputs]`."""
    shift: jax.Array
    """Term of each output after the normalisation, `[outputs]`."""


class AttentionParameters(NamedTuple):
    """The attention between `T` maps of a teacher and `S` maps of a student."""

    queries: tuple[NormalizedLayer, ...]
    """One for each map of the teacher, to `[dim]`."""
    keys: tuple[NormalizedLayer, ...]
    """One for each map of the student, to `[dim]`."""
    bilinear: NormalizedLayer
    """From any key to one a map of the teacher, `[dim, T * dim]`."""
    teacher_positions: jax.Array
    """Learnt vectors of the teacher's maps, `[T, dim]`."""
    student_positions: jax.Array
    """Learnt vectors of the student's maps, `[S, dim]`."""


def afd_attention(
    key: jax.Array,
    *,
    teacher_channels: Sequence[int],
    student_channels: Sequence[int],
    dim: int = 128,
    dtype: DTypeLike = float,
) -> AttentionParameters:
    """Draws the attention between a teacher's and a student's maps.

    Args:
      key: randomness.
      teacher_channels: numbers of channels of the teacher's maps.
      student_channels: those of the student's maps, as many as there are.
      dim: length of queries and keys; static.
      dtype: floating-point type of the parameters; static.

    Returns:
      The parameters: kernels of variance ``2 / fan-in``, scales one, shifts zero, and
      the positions of variance ``2 / (number of maps + dim)``.

    Raises:
      ValueError: if one of the networks has no map, or `dim` is less than 1.

    Example:
      >>> params = afd_attention(
      ...     jax.random.key(0), teacher_channels=(3, 6), student_channels=(2,), dim=4
      ... )
      >>> [layer.kernel.shape for layer in params.queries], params.bilinear.kernel.shape
      ([(3, 4), (6, 4)], (4, 8))

    References:
      Ji, Heo and Park, "Show, Attend and Distill", 2021, released code.
    """
    num_teacher, num_student = len(teacher_channels), len(student_channels)
    checks.positive("the number of the teacher's maps", num_teacher)
    checks.positive("the number of the student's maps", num_student)
    checks.positive("dim", dim)
    keys = jax.random.split(key, num_teacher + num_student + 3)
    layers = [
        _layer(*pair, dim, dtype)
        for pair in zip(keys, [*teacher_channels, *student_channels], strict=False)
    ]
    glorot = jax.nn.initializers.glorot_normal()
    return AttentionParameters(
        queries=tuple(layers[:num_teacher]),
        keys=tuple(layers[num_teacher:]),
        bilinear=_layer(keys[-3], dim, num_teacher * dim, dtype),
        teacher_positions=glorot(keys[-2], (num_teacher, dim), dtype),
        student_positions=glorot(keys[-1], (num_student, dim), dtype),
    )


@jax.jit
def afd_loss(
    params: AttentionParameters,
    teacher_maps: Sequence[ArrayLike],
    student_maps: Sequence[ArrayLike],
) -> jax.Array:
    r"""Computes the distances of all pairs of attention maps, weighted by attention.

    .. math:: \sum_t \frac1n \sum_x \sum_s \alpha_{ts} \frac{1}{hw}
              \|v_t - v_s\|_2^2, \quad
              \alpha_{t \cdot} = \operatorname{softmax}_s \frac{\langle q_t, k_{ts}
              \rangle + \langle p_t, p_s \rangle}{\sqrt{\mathrm{dim}}},

    with the mean square :math:`v` over the channels of a map, scaled to length one, and

    .. math:: q_t = \operatorname{BN}(W_t \bar Z_T^{(t)}), \quad
              k_{ts} = \operatorname{BN}(W'_t \operatorname{ReLU}(\operatorname{BN}(
              W_s \bar Z_S^{(s)})))

    of the means :math:`\bar Z` over the pixels. Any number of maps of the teacher meets
    any number of maps of the student. The normalisations are by the statistics of this
    batch, that of :math:`W'` over all keys of the student, so there is no state: the
    attention is of no use after training. The attention has gradients too, and is
    trained with the student.

    Of two squared maps of two sizes the larger is averaged to the smaller, along each
    axis; released code brings the student's to the teacher's size, and repeats pixels
    where it is smaller. A map of zeros stays as it is, with gradient zero.

    Args:
      params: the parameters.
      teacher_maps: feature maps of the teacher, shapes ``[n, h, w, ct]``.
      student_maps: feature maps of the student, shapes ``[n, h', w', cs]``.

    Returns:
      The loss, shape ``[]``. Its weight is 200 in released code, beside soft targets
      and a cross-entropy.

    Raises:
      ValueError: if the shapes do not agree with each other or with the parameters, or
        there is no map or example.
      TypeError: if a map is not floating-point.

    Example:
      >>> params = afd_attention(
      ...     jax.random.key(0), teacher_channels=(1,), student_channels=(1, 1), dim=4
      ... )
      >>> left, right = jnp.array([[[[2.0], [0.0]]]]), jnp.array([[[[0.0], [5.0]]]])
      >>> float(afd_loss(params, [left], [3 * left, -left]))
      0.0
      >>> float(afd_loss(params, [left], [right, right]))
      1.0

    References:
      Ji, Heo and Park, "Show, Attend and Distill: Knowledge Distillation via
      Attention-based Feature Matching", 2021, with the squares and means of released
      code, and without the biases that a normalisation takes away.
    """
    teacher = _checked("teacher_maps", teacher_maps, params.queries)
    student = _checked("student_maps", student_maps, params.keys)
    checks.same_length(teacher_maps=teacher[0], student_maps=student[0])
    attention = _attention(params, teacher, student)
    teacher, student = (list(map(_mean_squares, maps)) for maps in (teacher, student))
    return sum(
        jnp.mean(attention[:, t, s] * _distances(*_maps.of_one_size(first, second)))
        for t, first in enumerate(teacher)
        for s, second in enumerate(student)
    )


def _layer(key, inputs, outputs, dtype):
    return NormalizedLayer(
        kernel=jax.nn.initializers.he_normal()(key, (inputs, outputs), dtype),
        scale=jnp.ones(outputs, dtype),
        shift=jnp.zeros(outputs, dtype),
    )


def _checked(name, maps, layers):
    """Returns the maps `[n, h, w, c]` of one network, one a layer, or raises."""
    if len(maps) != len(layers) or not maps:
        raise ValueError(
            f"{name} must be as many as the parameters have layers, {len(layers)}, got "
            f"{len(maps)}."
        )
    named = {f"{name}[{i}]": array for i, array in enumerate(maps)}
    maps = _vectors.checked_vectors(4, **named)
    checks.same_length(**dict(zip(named, maps, strict=True)))
    channels = [array.shape[3] for array in maps]
    expected = [layer.kernel.shape[0] for layer in layers]
    if channels != expected:
        raise ValueError(
            f"{name} must have {expected} channels for these parameters, got "
            f"{channels}."
        )
    return maps


def _attention(params, teacher, student):
    """Returns the weights `[n, T, S]` of the student's maps; sums over them are one."""
    queries = jnp.stack(list(map(_normalized, params.queries, _means(teacher))), axis=1)
    hidden = jnp.stack(list(map(_normalized, params.keys, _means(student))), axis=1)
    hidden = jax.nn.relu(hidden).reshape(-1, hidden.shape[2])
    keys = _normalized(params.bilinear, hidden)
    keys = keys.reshape(len(queries), len(student), *queries.shape[1:])
    products = matmul(jnp.swapaxes(keys, 1, 2), queries[..., None])[..., 0]
    positions = matmul(params.teacher_positions, params.student_positions.T)
    return jax.nn.softmax((products + positions[None]) / queries.shape[2] ** 0.5)


def _means(maps):
    return [jnp.mean(array, axis=(1, 2)) for array in maps]


def _normalized(layer, rows):
    """Returns the outputs of a layer, normalised over the rows."""
    rows = matmul(rows, layer.kernel)
    rows = rows - jnp.mean(rows, axis=0, keepdims=True)
    # The largest is split off, as a constant, so that the squares do not overflow.
    peak = jnp.maximum(jnp.max(jnp.abs(rows), axis=0, keepdims=True), 1)
    peak = jax.lax.stop_gradient(peak)
    rows = rows / peak
    variance = jnp.mean(rows**2, axis=0, keepdims=True) + _LEAST_VARIANCE / peak / peak
    return rows * jax.lax.rsqrt(variance) * layer.scale[None] + layer.shift[None]


def _mean_squares(maps):
    """Returns the means over the channels `[n, h, w, 1]`, up to a factor an example."""
    flat = maps.reshape(len(maps), -1)
    flat, _ = linalg.scaled(flat, resolution=linalg.shortest(maps.dtype))
    return jnp.mean(flat.reshape(maps.shape) ** 2, axis=3, keepdims=True)


def _distances(teacher, student):
    """Returns the mean squared differences `[n]` of directions."""
    teacher, student = (
        _vectors.unit_directions(maps.reshape(len(maps), -1))
        for maps in (teacher, student)
    )
    return jnp.mean((teacher - student) ** 2, axis=1)

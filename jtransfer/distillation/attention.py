"""Attention maps: where a layer is active, and what moves its most active place."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer._internal import checks
from jtransfer.distillation import _maps, _vectors
from jtransfer.distillation.gradients import SelectedGradient, pullback


@jax.jit
def attention_map(features: ArrayLike) -> jax.Array:
    r"""Computes the attention map of one image: squares summed over the channels.

    .. math:: A = \sum_{i \in \text{channels}} |Z_i|^2.

    This is one image; for a batch use ``jax.vmap``.

    Args:
      features: a feature map ``Z`` of one image, shape ``[h, w, c]``.

    Returns:
      The map, shape ``[h, w]``.

    Raises:
      ValueError: if there are not three axes.
      TypeError: if the features are not floating-point.

    Example:
      >>> attention_map(jnp.array([[[1.0, 2.0], [0.0, 3.0]]])).tolist()
      [[5.0, 9.0]]

    References:
      Srinivas and Fleuret, "Knowledge Transfer with Jacobian Matching", 2018, Eq. (8).
    """
    features = jnp.asarray(features)
    checks.num_axes("features", features, 3)
    checks.floating("features", features)
    return jnp.sum(features**2, axis=2)


@jax.jit
def match_attention(teacher: ArrayLike, student: ArrayLike) -> jax.Array:
    r"""Computes the distance between normalised attention maps, *not* squared.

    .. math:: \frac1n \sum_x \left\|\frac{A_t}{\|A_t\|_2} -
              \frac{A_s}{\|A_s\|_2}\right\|_2.

    This is the form printed in both papers; the released code of the second computes
    `match_attention_mean_square`, whose values are smaller by orders of magnitude. A
    map of zeros stays as it is. The gradient is zero for maps of zeros, and for maps
    that are equal up to rounding, where the distance has a kink.

    Args:
      teacher: attention maps of the teacher, shape ``[n, h, w]``.
      student: attention maps of the student, shape ``[n, h, w]``. Where the sizes
        differ, pool the larger *feature* map before `attention_map`.

    Returns:
      The loss, shape ``[]``, in ``[0, sqrt(2)]``.

    Raises:
      ValueError: if the shapes differ or there is no example.
      TypeError: if an array is not floating-point.

    Example:
      >>> teacher, student = jnp.array([[[3.0, 4.0]]]), jnp.array([[[4.0, 3.0]]])
      >>> round(float(match_attention(teacher, student)), 4)
      0.2828

    References:
      Srinivas and Fleuret, "Knowledge Transfer with Jacobian Matching", 2018, Eq. (9).
      Zagoruyko and Komodakis, "Paying more attention to attention", 2017, Eq. (2).
    """
    differences = _differences(teacher, student)
    # Directions are known to a few eps: what is left of equal ones is noise, whose own
    # direction must not become the gradient.
    resolution = 8 * float(jnp.finfo(differences.dtype).eps)
    return jnp.mean(_vectors.norms(differences, resolution=resolution))


@jax.jit
def match_attention_mean_square(teacher: ArrayLike, student: ArrayLike) -> jax.Array:
    r"""Computes the mean squared difference between normalised attention maps.

    .. math:: \frac{1}{n h w} \sum_x \left\|\frac{A_t}{\|A_t\|_2} -
              \frac{A_s}{\|A_s\|_2}\right\|_2^2,

    a mean over images *and pixels*, as in the code released with the second reference,
    where its weight is 1000 and the losses of all stages are summed. `match_attention`
    is the printed form. A map of zeros stays as it is, its gradient is zero.

    Args:
      teacher: attention maps of the teacher, shape ``[n, h, w]``; whether the channels
        were summed or averaged makes no difference.
      student: attention maps of the student, shape ``[n, h, w]``.

    Returns:
      The loss, shape ``[]``.

    Raises:
      ValueError: if the shapes differ or there is no example.
      TypeError: if an array is not floating-point.

    Example:
      >>> teacher, student = jnp.array([[[3.0, 4.0]]]), jnp.array([[[4.0, 3.0]]])
      >>> round(float(match_attention_mean_square(teacher, student)), 4)
      0.04

    References:
      Srinivas and Fleuret, "Knowledge Transfer with Jacobian Matching", 2018, Eq. (9),
      for the normalisation. Zagoruyko and Komodakis, "Paying more attention to
      attention", 2017, released code.
    """
    return jnp.mean(_differences(teacher, student) ** 2)


def _differences(teacher, student) -> jax.Array:
    """Differences of the maps, each scaled to length one, `[n, h * w]`."""
    teacher, student = _vectors.matched(3, teacher=teacher, student=student)
    flat = (len(teacher), -1)
    return _vectors.unit_directions(teacher.reshape(flat)) - _vectors.unit_directions(
        student.reshape(flat)
    )


@jax.jit(static_argnames=("window",))
def pooled_attention_map(features: ArrayLike, *, window: int) -> jax.Array:
    """Computes the attention map of one image and its means over square windows.

    The windows move by one pixel and stay within the map. This is one image; for a
    batch use ``jax.vmap``.

    Args:
      features: a feature map of one image, shape ``[h, w, c]``.
      window: side of a window in pixels; static. The paper takes a fifth of the map's
        side.

    Returns:
      The means, shape ``[h - window + 1, w - window + 1]``.

    Raises:
      ValueError: if there are not three axes, or a window is empty or does not fit.
      TypeError: if the features are not floating-point.

    Example:
      >>> features = jnp.array([[[1.0], [2.0]], [[3.0], [4.0]], [[0.0], [0.0]]])
      >>> pooled_attention_map(features, window=2).tolist()
      [[7.5], [6.25]]

    References:
      Srinivas and Fleuret, "Knowledge Transfer with Jacobian Matching", 2018, Eq. (8),
      section 6.3.2 and supplement, "Loss function".
    """
    attention = attention_map(features)
    checks.positive("window", window)
    if window > min(attention.shape):
        raise ValueError(f"window {window} does not fit a map {attention.shape}.")
    sums = jax.lax.reduce_window(
        attention,
        attention.dtype.type(0),
        jax.lax.add,
        window_dimensions=(window, window),
        window_strides=(1, 1),
        padding="VALID",
    )
    return sums / window**2


def attention_peak_gradient(
    feature_fn: Callable, x: ArrayLike, *, window: int, index: ArrayLike | None = None
) -> SelectedGradient:
    r"""Computes the gradient of the most active place of a layer by the input.

    .. math:: \nabla_x \bar A_i(x), \quad i = \arg\max_j \bar A_j(x),

    with the pooled attention map :math:`\bar A`. The teacher's index is passed on to
    the student, whose map must have the same size: both then say what moves the
    activity of the *same* place. The index is a constant for differentiation. Matched
    by `match_normalized_jacobians`. This is one example; for a batch use ``jax.vmap``.

    Args:
      feature_fn: function of one example with a feature map ``[h, w, c]``; a network in
        evaluation mode.
      x: one example, of any shape.
      window: side of the windows of `pooled_attention_map`; static.
      index: integer index, shape ``[]``, into the flattened (row after row) *pooled*
        map ``[(h - window + 1) (w - window + 1)]``, that of the teacher; the gradient
        is zero if it lies outside. None takes the largest pixel, the first of equal
        ones.

    Returns:
      The gradient ``[x.size]`` and the index ``[]``.

    Raises:
      ValueError: if the feature map has not three axes, the window does not fit or
        `index` is not a scalar.
      TypeError: if `x` or the features are not floating-point or `index` no integer.

    Example:
      >>> teacher, student = (lambda x: x[..., None]), (lambda x: 2 * x[..., None])
      >>> x = jnp.array([[1.0, 3.0], [2.0, 0.0]])
      >>> gradient, index = attention_peak_gradient(teacher, x, window=1)
      >>> gradient.tolist(), int(index)
      ([0.0, 6.0, 0.0, 0.0], 1)
      >>> attention_peak_gradient(student, x, window=1, index=index).gradient.tolist()
      [0.0, 24.0, 0.0, 0.0]

    References:
      Srinivas and Fleuret, "Knowledge Transfer with Jacobian Matching", 2018, sections
      5.2.1 and 6.3.2.
    """

    def pooled(x):
        return pooled_attention_map(feature_fn(x), window=window).ravel()

    values, pull = pullback(pooled, x)
    index = jnp.argmax(values) if index is None else jnp.asarray(index)
    checks.num_axes("index", index, 0)
    checks.integer("index", index)
    cotangent = _vectors.one_hot(index, values.size, values.dtype)
    return SelectedGradient(pull(cotangent), index)


@jax.jit(static_argnames=("distance",))
def attention_transfer(
    teacher_maps: Sequence[ArrayLike],
    student_maps: Sequence[ArrayLike],
    *,
    distance: Callable = match_attention_mean_square,
) -> jax.Array:
    r"""Computes the distances between attention maps, summed over the stages.

    .. math:: \sum_j d\Bigl(\sum_c |Z_{T,c}^{(j)}|^2, \sum_c |Z_{S,c}^{(j)}|^2\Bigr).

    Where two maps differ in size, the larger *feature* map is averaged to the size of
    the smaller before anything is squared. There are no trained parameters, and the
    numbers of channels may differ.

    Args:
      teacher_maps: feature maps of the teacher, one a stage, shapes ``[n, h, w, c]``.
      student_maps: feature maps of the student, as many.
      distance: of two batches of attention maps ``[n, h, w]``; static. By default that
        of the released code, whose weight is 1000; `match_attention` is the printed
        one.

    Returns:
      The loss, shape ``[]``. Its gradient is zero by a map of zeros.

    Raises:
      ValueError: if the shapes do not agree or there is no stage or example.
      TypeError: if a map is not floating-point.

    Example:
      >>> import jax.numpy as jnp
      >>> teacher, student = jnp.eye(4)[None, :, :, None], jnp.eye(2)[None, :, :, None]
      >>> float(attention_transfer([teacher], [3 * student]))
      0.0

    References:
      Zagoruyko and Komodakis, "Paying More Attention to Attention", 2017, Eq. (2).
    """
    losses = []
    for maps in _maps.stages(teacher_maps, student_maps):
        teacher, student = _maps.of_one_size(*maps)
        attention = jax.vmap(attention_map)
        losses.append(distance(attention(teacher), attention(student)))
    return sum(losses)

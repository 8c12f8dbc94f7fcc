"""Attention transfer: matching attention maps, stage by stage."""

from collections.abc import Callable, Sequence

import jax
from jax.typing import ArrayLike

from jtransfer.distillation import _maps
from jtransfer.distillation.attention import attention_map, match_attention_mean_square


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

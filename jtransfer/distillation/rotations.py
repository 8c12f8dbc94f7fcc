"""Rotated views of images, and what a head of a network takes them for."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from jtransfer._internal import checks
from jtransfer._internal.linalg import matmul
from jtransfer.distillation import _vectors, activations

NUM_VIEWS = 4


class ProjectionHead(NamedTuple):
    """Two layers on an embedding, linear, ReLU, linear, of one width."""

    kernels: tuple[jax.Array, jax.Array]
    """Weights of the layers, `[dim, dim]`."""
    biases: tuple[jax.Array, jax.Array]
    """Biases of the layers, `[dim]`."""


@jax.jit
def rotated_views(images: ArrayLike) -> jax.Array:
    """Returns square images turned by 0, 90, 180 and 270 degrees, counterclockwise.

    Args:
      images: images, shape ``[n, h, h, c]``.

    Returns:
      The views, shape ``[n, 4, h, h, c]``; the first is the image itself. As one batch:
      ``views.reshape(-1, h, h, c)``.

    Raises:
      ValueError: if the images are not square or there is none.
      TypeError: if they are not floating-point.

    Example:
      >>> image = jnp.array([[1.0, 2.0], [3.0, 4.0]])[None, :, :, None]
      >>> rotated_views(image)[0, 1, :, :, 0].tolist()
      [[2.0, 4.0], [1.0, 3.0]]

    References:
      Xu et al., "Knowledge Distillation Meets Self-Supervision", 2020.
    """
    (images,) = _vectors.checked_vectors(4, images=images)
    if images.shape[1] != images.shape[2]:
        raise ValueError(f"images must be square, got shape {images.shape}.")
    turns = [jnp.rot90(images, turn, axes=(1, 2)) for turn in range(NUM_VIEWS)]
    return jnp.stack(turns, axis=1)


def projection_head(
    key: jax.Array, *, dim: int, dtype: DTypeLike = float
) -> ProjectionHead:
    """Draws the head of a network whose embeddings have `dim` entries.

    Args:
      key: randomness.
      dim: length of the embeddings, of the hidden layer and of the projections.
      dtype: floating-point type of the parameters; static.

    Returns:
      The parameters: kernels of variance ``2 / dim``, biases zero.

    Raises:
      ValueError: if `dim` is not positive.

    Example:
      >>> projection_head(jax.random.key(0), dim=3).kernels[1].shape
      (3, 3)

    References:
      Xu et al., "Knowledge Distillation Meets Self-Supervision", 2020; released code
      has two layers of the embedding's width, with another initialisation.
    """
    checks.positive("dim", dim)
    he_normal = jax.nn.initializers.he_normal()
    first, second = (he_normal(k, (dim, dim), dtype) for k in jax.random.split(key))
    zeros = jnp.zeros(dim, dtype)
    return ProjectionHead((first, second), (zeros, zeros))


@jax.jit
def projected(head: ProjectionHead, embeddings: ArrayLike) -> jax.Array:
    r"""Computes the projections of embeddings by a head.

    .. math:: \operatorname{ReLU}(z W_1 + b_1)\, W_2 + b_2.

    Args:
      head: the parameters.
      embeddings: embeddings, shape ``[..., dim]``, as ``[n, 4, dim]`` of the views.

    Returns:
      The projections, shape ``[..., dim]``.

    Raises:
      ValueError: if the embeddings have another length than the head.
      TypeError: if they are not floating-point.

    Example:
      >>> head = projection_head(jax.random.key(0), dim=3)
      >>> projected(head, jnp.ones((2, 4, 3))).shape
      (2, 4, 3)

    References:
      Xu et al., "Knowledge Distillation Meets Self-Supervision", 2020.
    """
    embeddings = jnp.asarray(embeddings)
    checks.floating("embeddings", embeddings)
    (first, second), dim = head.kernels, head.kernels[0].shape[0]
    if embeddings.shape[-1:] != (dim,):
        raise ValueError(
            f"embeddings must have {dim} entries each, got shape {embeddings.shape}."
        )
    rows = embeddings.reshape(-1, dim)
    hidden = jax.nn.relu(matmul(rows, first) + head.biases[0][None])
    return (matmul(hidden, second) + head.biases[1][None]).reshape(embeddings.shape)


@jax.jit
def contrastive_logits(projections: ArrayLike) -> jax.Array:
    r"""Computes the cosine of each rotated view with each image as it is.

    .. math:: A_{3i + r - 1,\, j} = \cos(z_{i,r}, z_{j,0}), \quad r = 1, 2, 3.

    A projection without length has cosine zero with all, and gradient zero.

    Args:
      projections: projections of the views of `rotated_views`, shape ``[n, 4, d]``.

    Returns:
      The cosines, shape ``[3 n, n]``; rows are the rotated views, image by image.

    Raises:
      ValueError: if there is no image or another number of views than 4.
      TypeError: if the projections are not floating-point.

    Example:
      >>> views = jnp.tile(jnp.eye(2)[:, None], (1, 4, 1))
      >>> contrastive_logits(views).tolist()[2:4]
      [[1.0, 0.0], [0.0, 1.0]]

    References:
      Xu et al., "Knowledge Distillation Meets Self-Supervision", 2020.
    """
    (projections,) = checked_views(3, projections=projections)
    directions = _vectors.unit_directions(projections)
    return matmul(rotated_rows(directions), directions[:, 0].T)


@jax.jit
def contrastive_loss(projections: ArrayLike) -> jax.Array:
    r"""Computes the cross-entropy of rotated views with the images they are of.

    .. math:: -\frac{1}{3n} \sum_{i,r} \log \operatorname{softmax}(A_{3i + r - 1})_i

    with :math:`A` of `contrastive_logits`. The teacher's head is trained by it before
    the student. As in released code there is no temperature here.

    Args:
      projections: projections of the views, shape ``[n, 4, d]``.

    Returns:
      The loss in nats, shape ``[]``; 0 for one image.

    Raises:
      ValueError: if there is no image or another number of views than 4.
      TypeError: if the projections are not floating-point.

    Example:
      >>> views = jnp.tile(jnp.eye(2)[:, None], (1, 4, 1))
      >>> round(float(contrastive_loss(views)), 4)
      0.3133

    References:
      Xu et al., "Knowledge Distillation Meets Self-Supervision", 2020.
    """
    logits = contrastive_logits(projections)
    return activations.cross_entropy(logits, own_images(logits.shape[1]))


def checked_views(num_axes: int, **arrays: ArrayLike) -> list[jax.Array]:
    """Returns batches of views `[n, 4, ...]` after checking that they are."""
    checked = _vectors.checked_vectors(num_axes, **arrays)
    for name, array in zip(arrays, checked, strict=True):
        if array.shape[1] != NUM_VIEWS:
            raise ValueError(f"{name} must hold 4 views, got shape {array.shape}.")
    return checked


def rotated_rows(views: jax.Array) -> jax.Array:
    """Returns the rotated ones of views `[n, 4, d]` as rows `[3 n, d]`."""
    return views[:, 1:].reshape(-1, views.shape[2])


def own_images(num_images: int) -> jax.Array:
    """Returns the image of each rotated view, int32 `[3 n]`."""
    return jnp.repeat(jnp.arange(num_images, dtype=jnp.int32), NUM_VIEWS - 1)

"""Outputs of a teacher at fixed images: computed once, kept on disk.

An *outputs function* is ``outputs(f, x, labels) -> dict of arrays [n, ...]``, where `f`
maps a batch of normalised images to the teacher's ``(logits, out)`` in evaluation mode.
It is a function of a module, or `functools.partial` of one: its name and arguments tell
what lies on disk. What it returns belongs to these very images, so that a student of it
trains without augmentation.
"""

import functools
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jtransfer import distillation, networks
from jtransfer._internal import checks
from jtransfer._internal.errors import DataError
from jtransfer._internal.provenance import images_fingerprint as images_fingerprint
from jtransfer.data import normalized
from jtransfer.distillation import batch_jacobians
from jtransfer.networks import Architecture, Network
from jtransfer.transfer import _stored_rows
from jtransfer.transfer._fingerprints import function_identity as function_identity
from jtransfer.transfer._fingerprints import inputs_fingerprint as inputs_fingerprint
from jtransfer.transfer._fingerprints import network_fingerprint as network_fingerprint

Outputs = dict[str, jax.Array]
_VERSION = 1
"""Part of every key: raise it when the numbers of an outputs function change."""


def logits(f: Callable, x: jax.Array, labels: jax.Array) -> Outputs:
    """Returns `teacher_logits` ``[n, Z]``."""
    del labels
    return {"teacher_logits": f(x)[0]}


def label_jacobian(f: Callable, x: jax.Array, labels: jax.Array) -> Outputs:
    """Returns logits and the input gradient of the output of the right class.

    Args:
      f: the teacher, see the module.
      x: normalised images, shape ``[n, h, w, c]``.
      labels: their classes, which are the teacher's own, shape ``[n]``.

    Returns:
      `teacher_logits` ``[n, Z]``, `teacher_indices` ``[n, 1]`` and `teacher_jacobians`
      ``[n, 1, h w c]``, by the normalised images.

    Example:
      >>> f = lambda x: (x.reshape(len(x), -1) * jnp.array([[3.0, 5.0]]), {})
      >>> outputs = label_jacobian(f, jnp.ones((1, 1, 1, 2)), jnp.array([1]))
      >>> outputs["teacher_jacobians"].tolist()
      [[[0.0, 5.0]]]

    References:
      Srinivas and Fleuret, "Knowledge Transfer with Jacobian Matching", 2018, 4.1.
    """
    return _jacobians(f, x, labels[:, None], chunk_size=1)


def largest_jacobian(
    f: Callable, x: jax.Array, labels: jax.Array, *, num_outputs: int = 1
) -> Outputs:
    """Returns logits and the input gradients of the teacher's largest outputs.

    Args:
      f: the teacher, see the module.
      x: normalised images, shape ``[n, h, w, c]``.
      labels: not used.
      num_outputs: how many outputs an image.

    Returns:
      As `label_jacobian`, with `num_outputs` in place of 1.

    Example:
      >>> f = lambda x: (x.reshape(len(x), -1) * jnp.array([[3.0, 5.0]]), {})
      >>> outputs = largest_jacobian(f, jnp.ones((1, 1, 1, 2)), None, num_outputs=2)
      >>> outputs["teacher_indices"].tolist(), outputs["teacher_jacobians"].tolist()
      ([[1, 0]], [[[0.0, 5.0], [3.0, 0.0]]])

    References:
      Srinivas and Fleuret, "Knowledge Transfer with Jacobian Matching", 2018, 4.1.
    """
    del labels
    _, indices = jax.lax.top_k(f(x)[0], num_outputs)
    return _jacobians(f, x, indices, chunk_size=num_outputs)


def full_jacobian(
    f: Callable, x: jax.Array, labels: jax.Array, *, chunk_size: int = 10
) -> Outputs:
    """Returns logits and the input gradients of all outputs.

    They take ``4 Z h w c`` bytes an image, 1.2 MB for 100 classes and CIFAR's images.

    Args:
      f: the teacher, see the module.
      x: normalised images, shape ``[n, h, w, c]``.
      labels: not used.
      chunk_size: outputs at a time.

    Returns:
      As `label_jacobian`, with all Z outputs in place of 1.

    References:
      Srinivas and Fleuret, "Knowledge Transfer with Jacobian Matching", 2018,
      Proposition 1.
    """
    del labels
    every = jnp.arange(f(x)[0].shape[1])
    indices = jnp.broadcast_to(every[None], (len(x), len(every)))
    return _jacobians(f, x, indices, chunk_size=chunk_size)


def _jacobians(f, x, indices, *, chunk_size):
    outputs, rows = batch_jacobians.selected_jacobians(
        lambda x: f(x)[0], x, indices, chunk_size=chunk_size
    )
    return {
        "teacher_logits": outputs,
        "teacher_indices": indices.astype(jnp.int32),
        "teacher_jacobians": rows,
    }


def attention_peak(
    f: Callable, x: jax.Array, labels: jax.Array, *, layer: int, window: int
) -> Outputs:
    """Returns logits, an attention map and the input gradient of its largest pixel.

    Args:
      f: the teacher, see the module.
      x: normalised images, shape ``[n, h, w, c]``.
      labels: not used.
      layer: which of the teacher's `feature_maps`.
      window: side of the windows of which a pixel is the mean.

    Returns:
      `teacher_logits` ``[n, Z]``, `teacher_attention` ``[n, h', w']`` before the
      pooling, `teacher_peaks` ``[n]``, the pixel's place in the flattened pooled map,
      and `teacher_peak_gradients` ``[n, h w c]``.

    References:
      Srinivas and Fleuret, "Knowledge Transfer with Jacobian Matching", 2018, Eq. (8),
      sections 5.2.1 and 6.3.2.
    """
    del labels
    features, gradients, places = batch_jacobians.peak_gradients(
        lambda x: f(x)[1]["feature_maps"][layer], x, window=window, indices=None
    )
    return {
        "teacher_logits": f(x)[0],
        "teacher_attention": jax.vmap(distillation.attention_map)(features),
        "teacher_peaks": places.astype(jnp.int32),
        "teacher_peak_gradients": gradients,
    }


def compute_teacher_outputs(
    outputs: Callable[..., Outputs],
    teacher: Network,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    folder: Path,
    batch_size: int = 128,
    progress: bool = True,
) -> dict[str, np.ndarray]:
    """Returns a teacher's outputs for images, from disk if they lie there.

    They are found again under the digest of the teacher's variables, the images and
    the labels, and what is computed. A killed run goes on where it was. Every byte is
    checked before it is used: what another program has damaged is computed again, with
    a warning.

    Args:
      outputs: an outputs function, see the module.
      teacher: the network.
      images: uint8, of the teacher's size and channels, shape ``[n, h, w, c]``. They
        are normalised by the teacher's statistics, as those of its students are.
      labels: their classes, shape ``[n]``.
      folder: where outputs lie, of as many teachers and image sets as one likes.
      batch_size: images at a time; compiled once.
      progress: whether to show progress, on stderr.

    Returns:
      The arrays, mapped into memory, read-only, ``[n, ...]`` each.

    Raises:
      DataError: if the images do not fit the teacher.
      ValueError: if `outputs` has no name of its own, such as a lambda.
    """
    images, labels = np.asarray(images), np.asarray(labels, np.int32)
    checks.same_length(images=images, labels=labels)
    check_fit(teacher.architecture, images)
    batch_size = min(batch_size, len(images))
    key = {
        "version": _VERSION,
        "outputs": function_identity(outputs),
        "teacher": network_fingerprint(teacher),
        "images": images_fingerprint(images, labels),
    }
    function = compiled_outputs(outputs, teacher.architecture)

    def rows(start: int, stop: int) -> Outputs:
        # A short batch reaches back, so that all have one shape.
        batch = slice(stop - batch_size, stop)
        arrays = function(
            teacher.variables, teacher.statistics, images[batch], labels[batch]
        )
        arrays = {
            name: np.asarray(array)[start - stop :] for name, array in arrays.items()
        }
        _check_finite(arrays, start, stop)
        return arrays

    return _stored_rows.store_rows(
        rows,
        folder,
        key=key,
        num_rows=len(images),
        batch_size=batch_size,
        progress=progress,
    )


def _check_finite(arrays, start, stop) -> None:
    for name, array in arrays.items():
        if not np.all(np.isfinite(array)):
            raise DataError(
                f"{name} of the images {start} to {stop - 1} holds NaN or infinity; "
                "train the teacher again."
            )


def check_fit(architecture: Architecture, images: np.ndarray) -> None:
    """Raises DataError unless images have the size and channels of an architecture."""
    side = architecture.image_size
    shape = (side, side, architecture.num_channels)
    if images.ndim != 4 or images.shape[1:] != shape:
        raise DataError(
            f"The teacher takes images {list(shape)}, these are "
            f"{list(images.shape[1:])}; read them with that size and those channels."
        )


@functools.lru_cache(maxsize=16)
def compiled_outputs(
    outputs: Callable[..., Outputs], architecture: Architecture
) -> Callable[..., Outputs]:
    """Returns the jitted ``function(variables, statistics, images, labels)``.

    Args:
      outputs: an outputs function, see the module.
      architecture: of the teacher.

    Returns:
      A function of the teacher's variables and statistics and of a batch of images as
      they are stored, uint8 ``[n, h, w, c]``, with their labels ``[n]``.
    """
    apply_fn, flat = networks.apply_fn_of(architecture)

    @jax.jit
    def function(variables, statistics, images, labels):
        def f(x):
            return apply_fn(variables, x.reshape(len(x), -1) if flat else x)

        x = normalized(images, mean=statistics.mean, std=statistics.std)
        return outputs(f, x, labels)

    return function

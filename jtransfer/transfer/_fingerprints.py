"""What a file on disk or a run in a folder is of, so that it is known again."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from jtransfer._internal.provenance import arrays_fingerprint
from jtransfer.networks import Network


def images_fingerprint(images: np.ndarray, labels: np.ndarray) -> str:
    """Returns what changes when an image or a label does."""
    return arrays_fingerprint(images, np.asarray(labels, np.int32))


def inputs_fingerprint(*inputs: Mapping[str, Any]) -> str | None:
    """Returns what changes when arrays of a batch do, None without any."""
    leaves = jax.tree_util.tree_leaves_with_path([dict(found) for found in inputs])
    names = np.array([jax.tree_util.keystr(path) for path, _ in leaves])
    return arrays_fingerprint(names, *(x for _, x in leaves)) if leaves else None


def network_fingerprint(network: Network) -> str:
    """Returns what changes when a network does."""
    leaves = jax.tree_util.tree_leaves_with_path(network.variables)
    names = [jax.tree_util.keystr(path) for path, _ in leaves]
    return arrays_fingerprint(
        np.array([repr(network.architecture), *names]),
        *network.statistics,
        *(leaf for _, leaf in leaves),
    )


def function_identity(function: Callable) -> dict[str, Any]:
    """Returns the name of a function and the arguments that are bound to it.

    Args:
      function: a function of a module, or `functools.partial` of one with keywords.

    Returns:
      `function`, its name, and the keywords.

    Raises:
      ValueError: if it has no name by which it could be found again.

    Example:
      >>> described(functools.partial(images_digest, labels=None))["labels"] is None
      True
    """
    if isinstance(function, functools.partial) and not function.args:
        return {**function_identity(function.func), **function.keywords}
    name = getattr(function, "__qualname__", "<nameless>")
    if "<" in name:
        raise ValueError(
            "what lies on disk is known by its function, which must be one of a module "
            f"or functools.partial of one with keywords, got {function!r}."
        )
    return {"function": f"{function.__module__}.{name}"}

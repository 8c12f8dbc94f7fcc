"""Fingerprints of networks and functions: by them results on disk are found again."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from jtransfer._internal.provenance import arrays_fingerprint
from jtransfer.networks import Network


def inputs_fingerprint(*inputs: Mapping[str, Any]) -> str | None:
    """Returns a SHA-256 of the arrays of a batch and their names, None without any."""
    leaves = jax.tree_util.tree_leaves_with_path([dict(arrays) for arrays in inputs])
    names = np.array([jax.tree_util.keystr(path) for path, _ in leaves])
    return arrays_fingerprint(names, *(x for _, x in leaves)) if leaves else None


def network_fingerprint(network: Network) -> str:
    """Returns a SHA-256 of a network's architecture, statistics and weights."""
    leaves = jax.tree_util.tree_leaves_with_path(network.variables)
    names = [jax.tree_util.keystr(path) for path, _ in leaves]
    return arrays_fingerprint(
        np.array([repr(network.architecture), *names]),
        *network.statistics,
        *(leaf for _, leaf in leaves),
    )


def function_identity(function: Callable) -> dict[str, Any]:
    """Returns the name of a function and the settings that are bound to it.

    Args:
      function: a function of a module, `functools.partial` of one with keywords, or a
        dataclass of settings that can be called.

    Returns:
      `function`, its name, and the settings.

    Raises:
      ValueError: if it has no name by which it could be found again.

    Example:
      >>> function_identity(functools.partial(network_fingerprint, network=1))
      {'function': 'jtransfer.transfer._fingerprints.network_fingerprint', 'network': 1}
    """
    if isinstance(function, functools.partial) and not function.args:
        return {**function_identity(function.func), **function.keywords}
    if dataclasses.is_dataclass(function) and not isinstance(function, type):
        settings = dataclasses.asdict(function)
        return {**function_identity(type(function)), **settings}
    name = getattr(function, "__qualname__", "<nameless>")
    if "<" in name:
        raise ValueError(
            "what lies on disk is known by its function: one of a module, "
            "functools.partial of one with keywords or a dataclass of settings, got "
            f"{function!r}."
        )
    return {"function": f"{function.__module__}.{name}"}

"""Networks on disk: plain arrays and JSON, nothing that can run."""

import contextlib
import dataclasses
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jtransfer import models
from jtransfer._internal.errors import DataError
from jtransfer._internal.files import (
    json_value,
    make_folder,
    write_atomically,
    write_text_atomically,
)
from jtransfer.data import ChannelStatistics, npz_arrays
from jtransfer.networks.architectures import (
    Architecture,
    Network,
    TextArchitecture,
    abstract,
)
from jtransfer.networks.kinds import is_text_network

JSON_FILE = "network.json"
ARRAYS_FILE = "variables.npz"
CENTERS = "class_centers"
"""The name of the class centres among the arrays."""


def write_network(folder: Path, network: Network) -> None:
    """Writes a network to a folder, atomically.

    Args:
      folder: made if absent.
      network: the network.
    """
    arrays = named_arrays(network.variables)
    if network.class_centers is not None:
        arrays[CENTERS] = np.asarray(network.class_centers, np.float32)
    description = {
        "architecture": dataclasses.asdict(network.architecture),
        "mean": np.asarray(network.statistics.mean, float).tolist(),
        "std": np.asarray(network.statistics.std, float).tolist(),
        "class_names": list(network.class_names),
        "facts": network.facts,
    }
    write_described(folder, arrays, description)


def write_described(folder: Path, arrays: Mapping[str, np.ndarray], description: dict):
    """Writes named arrays and their description to a folder, atomically.

    Args:
      folder: made if absent.
      arrays: for `ARRAYS_FILE`.
      description: what JSON can express, for `JSON_FILE`; it is written last.
    """
    make_folder(folder)
    stored = io.BytesIO()
    np.savez(stored, **arrays)
    write_atomically(folder / ARRAYS_FILE, stored.getvalue())
    text = json.dumps(description, indent=1, ensure_ascii=False)
    write_text_atomically(folder / JSON_FILE, text)


def read_network(folder: Path) -> Network:
    """Reads a network that `write` has written.

    Args:
      folder: the folder.

    Returns:
      The network.

    Raises:
      DataError: if a file is missing, damaged, does not fit the architecture, or is one
        of a network of texts.
    """
    file = folder / JSON_FILE
    if is_text_network(folder):
        raise DataError(
            f"{folder} holds a network of texts, where one of images is needed."
        )
    with damage_named(file):
        described = json_value(file.read_text(encoding="utf-8"))
        architecture = Architecture(**described["architecture"])
        statistics = ChannelStatistics(
            *(np.asarray(described[name], np.float32) for name in ("mean", "std"))
        )
        class_names = tuple(str(name) for name in described["class_names"])
        facts = dict(described["facts"])
        names = variable_names(architecture)
    arrays_file = folder / ARRAYS_FILE
    arrays = npz_arrays(arrays_file, required=names, optional=[CENTERS])
    variables = variables_in(architecture, arrays, arrays_file)
    centers = arrays.get(CENTERS)
    if centers is not None:
        width = variables.params["classifier"]["kernel"].shape[0]
        check_centers(centers, (architecture.num_classes, width), arrays_file)
    return Network(architecture, variables, statistics, class_names, facts, centers)


@contextlib.contextmanager
def damage_named(file: Path) -> Iterator[None]:
    """Turns whatever a damaged description raises into a DataError that names it.

    Args:
      file: the `JSON_FILE` that is read meanwhile.
    """
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(
            f"{file} does not exist; make it with jtransfer train."
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file} is damaged ({error!r}); train it again.") from error


def check_centers(centers: np.ndarray, shape: tuple[int, int], file: Path) -> None:
    """Raises DataError unless class centres are finite floats of a shape."""
    if (
        centers.shape != shape
        or centers.dtype.kind != "f"
        or not np.isfinite(centers).all()
    ):
        raise DataError(
            f"{CENTERS} in {file} must be finite floats {list(shape)}, got "
            f"{centers.dtype}{list(centers.shape)}."
        )


def variable_names(architecture: Architecture | TextArchitecture) -> list[str]:
    """Returns the names of a network's arrays on disk."""
    leaves = jax.tree_util.tree_leaves_with_path(abstract(architecture)[1])
    return [_name(path) for path, _ in leaves]


def variables_in(
    architecture: Architecture | TextArchitecture,
    arrays: Mapping[str, np.ndarray],
    file: Path,
) -> models.Variables:
    """Puts the arrays of a network, read from `file`, in their places.

    Raises:
      DataError: if an array does not fit the architecture.
    """
    leaves, structure = jax.tree.flatten(abstract(architecture)[1])
    stored = [arrays[name] for name in variable_names(architecture)]
    for name, array, leaf in zip(
        variable_names(architecture), stored, leaves, strict=True
    ):
        if array.shape != leaf.shape or array.dtype != leaf.dtype:
            raise DataError(
                f"{name} in {file} is {array.dtype}{list(array.shape)}, a "
                f"{architecture.model} has {leaf.dtype}{list(leaf.shape)}."
            )
    return jax.tree.unflatten(structure, [jnp.asarray(array) for array in stored])


def named_arrays(variables: models.Variables) -> dict[str, np.ndarray]:
    """Returns the arrays of a network by the names of `variable_names`."""
    leaves = jax.tree_util.tree_leaves_with_path(variables)
    return {_name(path): np.asarray(leaf) for path, leaf in leaves}


def _name(path) -> str:
    keys = (getattr(k, "name", None) or str(getattr(k, "key", "")) for k in path)
    return "/".join(keys)

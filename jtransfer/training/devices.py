"""Devices: which there are, where batches lie on them, several hosts.

No other file of the package knows of devices. Functions of arrays are written for one
device; a batch whose first axis is distributed over a mesh goes through them as it is,
and `jax.jit` inserts the sums over devices.
"""

import functools
import os
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

_AXIS = "data"
_ADDRESS, _COUNT, _ID = (
    "JAX_COORDINATOR_ADDRESS",
    "JAX_NUM_PROCESSES",
    "JAX_PROCESS_ID",
)
Tree = TypeVar("Tree")


def initialize() -> bool:
    """Joins the other hosts, if the environment asks for it.

    It does when ``JAX_COORDINATOR_ADDRESS`` is set: ``host:port`` of the first
    process. ``JAX_NUM_PROCESSES`` and ``JAX_PROCESS_ID`` then tell how many processes
    there are and which one this is; without both, JAX finds them out from the cluster
    (SLURM, Open MPI, a TPU pod). Call it before anything else touches JAX, in every
    process; a second call does nothing.

    Returns:
      Whether this process works together with others.

    Raises:
      ValueError: if one of the two numbers is missing or is not a number.

    Example:
      >>> initialize()  # JAX_COORDINATOR_ADDRESS is not set
      False
    """
    if jax.distributed.is_initialized():
        return True
    address = os.environ.get(_ADDRESS)
    if not address:
        return False
    numbers = [os.environ.get(name) for name in (_COUNT, _ID)]
    if numbers == [None, None]:
        jax.distributed.initialize(coordinator_address=address)
        return True
    if not all(number and number.isdecimal() for number in numbers):
        raise ValueError(
            f"{_COUNT} and {_ID} must both be numbers where one of them is set, got "
            f"{numbers[0]!r} and {numbers[1]!r}."
        )
    count, index = map(int, numbers)
    jax.distributed.initialize(address, count, index)
    return True


def data_mesh(num_devices: int | None = None) -> Mesh:
    """Returns a mesh of one axis, along which examples are distributed.

    Args:
      num_devices: how many devices of this host to use; None is all devices of all
        hosts.

    Returns:
      The mesh.

    Raises:
      ValueError: if this host has fewer devices.

    Example:
      >>> data_mesh(1).size
      1
    """
    devices = jax.devices() if num_devices is None else jax.local_devices()
    count = len(devices) if num_devices is None else num_devices
    if not 1 <= count <= len(devices):
        raise ValueError(f"num_devices must be 1 to {len(devices)}, got {num_devices}.")
    # Explicit axes, the default, would have every reduction name its sharding.
    return jax.make_mesh(
        (count,), (_AXIS,), axis_types=(AxisType.Auto,), devices=devices[:count]
    )


def on_mesh(batch: Tree, mesh: Mesh, *, axis: int = 0) -> Tree:
    """Distributes the examples of a batch over the devices of a mesh.

    Args:
      batch: a tree of arrays with the examples along `axis`: of the whole batch on
        one host, of the rows `local_rows` where the mesh spans several.
      mesh: see `data_mesh`.
      axis: the axis of the examples.

    Returns:
      The same tree, as arrays on the mesh; of several hosts, the whole batch.

    Raises:
      ValueError: if the number of examples does not divide among the devices.

    Example:
      >>> on_mesh({"labels": np.arange(4)}, data_mesh(1))
      {'labels': Array([0, 1, 2, 3], dtype=int32)}
    """
    sharding = NamedSharding(mesh, PartitionSpec(*[None] * axis, _AXIS))
    count = len(sharding.addressable_devices)

    def placed(array):
        _check_even(array.shape[axis], count)
        if sharding.is_fully_addressable:
            return jax.device_put(array, sharding)
        return jax.make_array_from_process_local_data(sharding, array)

    return jax.tree.map(placed, batch)


def local_rows(batch_size: int, mesh: Mesh) -> np.ndarray:
    """Returns which rows of a batch this host has to bring along.

    Args:
      batch_size: examples of the whole batch, a multiple of the mesh's size.
      mesh: see `data_mesh`.

    Returns:
      Positions in the batch, ascending; all of them on one host.

    Raises:
      ValueError: if the batch does not divide among the devices.

    Example:
      >>> local_rows(3, data_mesh(1))
      array([0, 1, 2])
    """
    _check_even(batch_size, mesh.size)
    sharding = NamedSharding(mesh, PartitionSpec(_AXIS))
    slices = sharding.addressable_devices_indices_map((batch_size,)).values()
    rows = np.arange(batch_size)
    return np.unique(np.concatenate([rows[index] for index in slices]))


def replicated(tree: Tree, mesh: Mesh) -> Tree:
    """Puts a copy of every array on each device of a mesh.

    Args:
      tree: a tree of arrays, equal on all hosts.
      mesh: see `data_mesh`.

    Returns:
      The same tree on the mesh. An array that is there already is not copied.
    """
    if is_on_one_host(mesh):
        return jax.device_put(tree, replication(mesh))
    return jax.tree.map(functools.partial(_on_all_hosts, replication(mesh)), tree)


def _on_all_hosts(sharding, array):
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        numbers = _on_all_hosts(sharding, jax.random.key_data(array))
        return jax.random.wrap_key_data(numbers, impl=jax.random.key_impl(array))
    if isinstance(array, jax.Array) and not array.is_fully_addressable:
        return array
    array = np.asarray(array)
    return jax.make_array_from_process_local_data(sharding, array, array.shape)


def replication(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of arrays that every device of a mesh holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def is_first_process() -> bool:
    """Tells whether this process is the one that writes logs and shows progress."""
    return jax.process_index() == 0


def is_on_one_host(mesh: Mesh) -> bool:
    """Tells whether this process drives all devices of a mesh."""
    return replication(mesh).is_fully_addressable


def in_any_process(flag: bool, mesh: Mesh) -> bool:
    """Tells whether `flag` holds in any of the processes that share a mesh.

    All of them must ask at the same point of their work.
    """
    if is_on_one_host(mesh):
        return flag
    from jax.experimental import multihost_utils

    return bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))


def has_slow_loops() -> bool:
    """Tells whether a convolution is slow inside a compiled loop: true of a CPU."""
    return jax.default_backend() == "cpu"


def _check_even(num_examples, num_devices) -> None:
    if num_examples % num_devices:
        raise ValueError(
            f"{num_examples} examples cannot be shared out evenly among {num_devices} "
            f"devices; take a multiple of {num_devices} as batch size."
        )

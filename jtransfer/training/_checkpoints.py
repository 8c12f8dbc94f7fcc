"""Checkpoints of a training run: Orbax folders that appear whole or not at all.

A run's folder holds ``checkpoints/STEP/``: the last, the one before and their best
ones. Orbax writes a checkpoint under another name and renames it when it is complete;
then it gets the checksums of its files, since Orbax fills the standard error with
tracebacks of its threads where it reads one that is broken.
"""

import contextlib
import json
import logging
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jtransfer._internal.errors import one_line
from jtransfer._internal.files import (
    check_space,
    checksum,
    file_faults,
    json_value,
    write_atomically,
)
from jtransfer.training import devices

_CHECKSUMS = "checksums.json"


class OtherRunError(ValueError):
    """A checkpoint that is whole, and of another run."""


def steps_in(folder: Path) -> list[int]:
    """Returns the steps of the complete checkpoints of a run, ascending."""
    places = (folder / "checkpoints").glob("*/")
    return sorted(int(place.name) for place in places if place.name.isdecimal())


def save(
    folder: Path, step: int, variables: dict, rest: dict, *, facts: dict[str, Any]
) -> None:
    """Writes one checkpoint and returns when it is complete.

    Args:
      folder: of the run.
      step: which the checkpoint is named after.
      variables: trees of arrays that are of use without the optimiser.
      rest: the other trees of arrays.
      facts: whatever JSON can express.

    Raises:
      FileError: if it cannot be written.
    """
    place = _place(folder, step)
    if devices.is_first_process():
        # Orbax, too, would find the disk full, and fill the screen with tracebacks.
        check_space(place.parent, _size([variables, rest]))
    with file_faults(place), _orbax() as (ocp, checkpointer):
        items = ocp.args.Composite(
            variables=ocp.args.PyTreeSave(variables),
            rest=ocp.args.PyTreeSave(rest),
            facts=ocp.args.JsonSave(facts),
        )
        checkpointer.save(place, args=items)
    if devices.is_first_process():
        sums = {name: checksum(place / name) for name in _files(place)}
        write_atomically(place / _CHECKSUMS, json.dumps(sums, indent=1).encode())


def fault_of(folder: Path, step: int) -> str | None:
    """Returns why a checkpoint cannot be read, or None if its files are as written.

    Those without checksums, of a run that was killed just then or of an earlier
    version, are taken for whole.
    """
    place = _place(folder, step)
    if not place.is_dir():
        return "it is gone"
    if not (place / _CHECKSUMS).exists():
        return None
    try:
        sums = dict(json_value((place / _CHECKSUMS).read_text("utf-8")))
        for name, written in sums.items():
            if not (place / name).is_file():
                return f"{name} is gone"
            if checksum(place / name) != written:
                return f"{name} is not what was written"
    except (OSError, ValueError, TypeError) as error:
        return f"{_CHECKSUMS}: {one_line(error)}"
    return None


def _size(tree) -> int:
    """Bytes on disk of a checkpoint, at most: arrays, and what Orbax writes of each."""
    leaves = jax.tree.leaves(tree)
    return sum(leaf.nbytes for leaf in leaves) * 5 // 4 + 2**18 + 2**10 * len(leaves)


def _files(place: Path) -> list[str]:
    paths = (path for path in sorted(place.rglob("*")) if path.is_file())
    return [path.relative_to(place).as_posix() for path in paths]


def facts_of(folder: Path, step: int) -> dict[str, Any]:
    """Returns the facts stored with a checkpoint."""
    with _orbax() as (ocp, checkpointer):
        items = ocp.args.Composite(facts=ocp.args.JsonRestore())
        return checkpointer.restore(_place(folder, step), args=items).facts


def restored(folder: Path, step: int, item: str, like: dict) -> dict:
    """Reads one item of a checkpoint into a known structure.

    Args:
      folder: of the run.
      step: of the checkpoint.
      item: "variables" or "rest".
      like: the arrays on their devices whose values are to be read.

    Returns:
      The same tree with the values stored, on the same devices.

    Raises:
      OtherRunError: if the checkpoint has other arrays.
    """
    ours = {
        jax.tree_util.keystr(path, simple=True, separator="."): leaf.shape
        for path, leaf in jax.tree_util.tree_leaves_with_path(like)
    }
    with _orbax() as (ocp, checkpointer):
        place = _place(folder, step)
        metadata = checkpointer.metadata(place).item_metadata[item].tree
        theirs = {
            jax.tree_util.keystr(path, simple=True, separator="."): tuple(leaf.shape)
            for path, leaf in jax.tree_util.tree_leaves_with_path(metadata)
        }
        for name in sorted(ours.keys() | theirs.keys()):
            if ours.get(name) != theirs.get(name):
                raise OtherRunError(
                    f"{place} is of another network or optimiser: {name} has shape "
                    f"{theirs.get(name)} there and {ours.get(name)} here; give "
                    "another folder."
                )
        arguments = ocp.args.PyTreeRestore(
            like, restore_args=ocp.checkpoint_utils.construct_restore_args(like)
        )
        items = ocp.args.Composite(**{item: arguments})
        return checkpointer.restore(place, args=items)[item]


def plain_variables(folder: Path, step: int) -> dict:
    """Reads the variables of a checkpoint without knowing their structure."""
    with _orbax() as (ocp, checkpointer):
        place = _place(folder, step)
        metadata = checkpointer.metadata(place).item_metadata["variables"].tree
        as_numpy = jax.tree.map(
            lambda _: ocp.RestoreArgs(restore_type=np.ndarray), metadata
        )
        arguments = ocp.args.PyTreeRestore(restore_args=as_numpy)
        items = ocp.args.Composite(variables=arguments)
        variables = checkpointer.restore(place, args=items).variables
    return jax.tree.map(jnp.asarray, _with_numbers(variables))


def prune(folder: Path, keep: Collection[int | None]) -> None:
    """Deletes the checkpoints of all other steps and the remains of killed runs."""
    if not devices.is_first_process():
        return
    names = {str(step) for step in keep}
    for place in (folder / "checkpoints").glob("*/"):
        if place.name not in names:
            shutil.rmtree(place, ignore_errors=True)


def _place(folder: Path, step: int) -> Path:
    return folder.absolute() / "checkpoints" / str(step)


def _with_numbers(tree):
    """Turns keys back into the numbers that they are in lists of layers."""
    if not isinstance(tree, dict):
        return tree
    return {
        int(key) if key.isdecimal() else key: _with_numbers(value)
        for key, value in tree.items()
    }


@contextlib.contextmanager
def _orbax():
    """Orbax and a checkpointer, without its log lines."""
    import orbax.checkpoint as ocp

    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    handler = ocp.CompositeCheckpointHandler(
        variables=ocp.PyTreeCheckpointHandler(),
        rest=ocp.PyTreeCheckpointHandler(),
        facts=ocp.JsonCheckpointHandler(),
    )
    try:
        with ocp.Checkpointer(handler) as checkpointer:
            yield ocp, checkpointer
    finally:
        logger.setLevel(level)

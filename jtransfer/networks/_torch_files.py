"""Tensors in a file that PyTorch has written, read without PyTorch and with suspicion.

Such a file is a pickle, and a pickle is a program. Only the form of before PyTorch 1.6
is read: five pickles, then the numbers of each storage. The names that the pickles may
ask for are those of tensors and of the dict around them.
"""

import io
import math
import pickle
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jtransfer._internal.errors import DataError

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
_DTYPES = {"FloatStorage": "<f4", "DoubleStorage": "<f8", "LongStorage": "<i8"}


class _Storage(NamedTuple):
    key: str
    dtype: str
    length: int


class _View(NamedTuple):
    """A tensor, as the file describes it."""

    storage: Any
    start: Any
    shape: Any
    strides: Any


class _Dict(dict):
    """The ordered dict of the file, whose further attributes are dropped."""

    def __setstate__(self, state):
        del state


class _Unpickler(pickle.Unpickler):
    """Reads the names of tensors and nothing that could run."""

    def find_class(self, module, name):
        """Returns the harmless stand-in of a name of the file."""
        if (module, name) == ("collections", "OrderedDict"):
            return _Dict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda *args: _View(*args[:4])
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, not for a tensor")

    def persistent_load(self, reference):
        """Returns a storage."""
        tag, dtype, key, _, length, part = reference
        known = tag == "storage" and dtype in _DTYPES.values() and part is None
        if not (known and type(key) is str and type(length) is int and length >= 0):
            raise pickle.UnpicklingError("it refers to what is no storage")
        return _Storage(key, dtype, length)


def torch_arrays(path: Path) -> dict[str, np.ndarray]:
    """Reads a dict of tensors that `torch.save` has written in its old form.

    Nothing in the file is run: of the names that it gives, those of tensors and of
    ordered dicts are known, and any other is refused before it is looked up.

    Args:
      path: the file.

    Returns:
      The tensors by their names, of float32, float64 or int64, read-only: those that
      share numbers in the file share them here.

    Raises:
      DataError: if the file is missing or damaged, is of another form, asks for
        anything but tensors, or a tensor exceeds its storage.
    """
    try:
        content = path.read_bytes()
        if content.startswith(b"PK"):
            raise ValueError("it is a zip, as PyTorch has them from 1.6 on")
        stream = io.BytesIO(content)
        if (_loaded(stream), _loaded(stream)) != (_MAGIC, _VERSION):
            raise ValueError("it is not of the old form of torch.save")
        if _loaded(stream)["little_endian"] is not True:
            raise ValueError("its numbers are big-endian")
        views, keys = _loaded(stream), _loaded(stream)
        described = {view.storage for view in views.values()}
        storages = {storage.key: storage for storage in described}
        if len(storages) < len(described) or set(keys) != storages.keys():
            raise ValueError("its tensors do not fit its storages")
        numbers = {key: _numbers(stream, storages[key]) for key in keys}
        if stream.read(1):
            raise ValueError("more follows the last storage")
        if any(type(name) is not str for name in views):
            raise ValueError("a tensor has no name")
        return {name: _array(view, numbers) for name, view in views.items()}
    except _ERRORS as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{path} cannot be read: {reason}.") from error


def _loaded(stream):
    return _Unpickler(stream).load()


def _numbers(stream, storage: _Storage) -> np.ndarray:
    (length,) = struct.unpack("<q", stream.read(8))
    content = stream.read(storage.length * np.dtype(storage.dtype).itemsize)
    numbers = np.frombuffer(content, storage.dtype)
    if not length == storage.length == len(numbers):
        raise ValueError(f"storage {storage.key} is not complete")
    return numbers


def _array(view: _View, numbers: dict[str, np.ndarray]) -> np.ndarray:
    storage, start, shape, strides = view
    for value in (start, *shape, *strides):
        if type(value) is not int or value < 0:
            raise ValueError("a size or stride is no number")
    stored = numbers[storage.key]
    last = start + sum(
        (size - 1) * stride for size, stride in zip(shape, strides, strict=True)
    )
    size = math.prod(shape)
    # Strides of zero could blow up a few numbers to any size.
    if size > len(stored) or (size and last >= len(stored)):
        raise ValueError("a tensor exceeds its storage")
    if not size:
        return np.empty(shape, stored.dtype)
    steps = [stride * stored.itemsize for stride in strides]
    # No copy: many tensors of one storage would need more memory than the file.
    return np.lib.stride_tricks.as_strided(stored[start:], shape, steps)


# A damaged file surfaces as any of these, depending on where the damage lies.
_ERRORS = (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    ImportError,
    IndexError,
    KeyError,
    MemoryError,
    OSError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)

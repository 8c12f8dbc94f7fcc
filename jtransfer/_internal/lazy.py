"""Public names of a package that are resolved on first use (PEP 562)."""

import importlib
from collections.abc import Mapping
from typing import Any

from jtransfer._internal.moved import moved_attribute


def lazy_attribute(package: str, name: str, modules: Mapping[str, str]) -> Any:
    """Returns a public name of a package, for its module-level `__getattr__`.

    Args:
      package: name of the package.
      name: what it is asked for.
      modules: the module of each public name; its own name stands for a module.

    Returns:
      The function, class, value or module.

    Raises:
      AttributeError: if the package has no such name, and had none in November.
    """
    if name not in modules:
        return moved_attribute(package, name)
    module = importlib.import_module(f"{package}.{modules[name]}")
    return module if modules[name] == name else getattr(module, name)

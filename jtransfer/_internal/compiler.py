"""Releases of the compiler that compute wrongly."""

from jtransfer._internal.versions import installed_version

_FAULTS = {
    "0.10.2": "it computes products that are summed over their last axis wrongly on "
    "CPUs (jax-ml/jax#39103)",
}


def compiler_fault() -> str | None:
    """Returns a line about the installed compiler if it is known to be wrong."""
    version = installed_version("jaxlib")
    if version not in _FAULTS:
        return None
    return (
        f"Do not trust results with jaxlib {version}: {_FAULTS[version]}; install "
        f"another, pip install 'jax!={version}' 'jaxlib!={version}'."
    )

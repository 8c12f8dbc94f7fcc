"""`jtransfer doctor`: what is installed, and what is known to be wrong with it."""


def doctor_command() -> int:
    """Print versions, devices, what can be installed beside them, and what is wrong.

    Try these:
      jtransfer doctor

    Returns:
      0, or 1 if something installed is known to compute wrongly or to be unsafe.
    """
    import platform

    import jax

    from jtransfer._internal.compiler import compiler_fault
    from jtransfer._internal.memory import available_memory, gigabytes
    from jtransfer._internal.versions import installed_version
    from jtransfer._version import __version__
    from jtransfer.report.screen import console, plain_table, text
    from jtransfer.zoo import extraction
    from jtransfer.zoo.specs import EXTRAS, unsafe_torch

    table = plain_table(("what", "version"), caption="", num_left=2)
    table.add_row("jtransfer", __version__)
    table.add_row("Python", f"{platform.python_version()}, {platform.platform()}")
    for name in ("jax", "jaxlib", "flax", "numpy", "scipy", "ott-jax"):
        table.add_row(name, installed_version(name) or "not installed")
    devices = ", ".join(sorted({device.device_kind for device in jax.devices()}))
    table.add_row("devices", f"{len(jax.devices())} of {devices}")
    free = available_memory()
    table.add_row("memory", "unknown" if free is None else f"{gigabytes(free)} free")
    for extra, packages in EXTRAS.items():
        held = {name: installed_version(name) for name in packages}
        cure = f"pip install 'jtransfer[{extra}]'"
        known = ", ".join(f"{k} {v}" for k, v in held.items() if v)
        missing = ", ".join(k for k, v in held.items() if not v)
        shown = known + (f" ({missing} missing: {cure})" if missing else "")
        table.add_row(f"models of {extra}", text(shown.strip()))
    entries = extraction.cached_features(extraction.models_cache(None))
    size = sum(entry.size for entry in entries)
    table.add_row("features kept", f"{len(entries)} models, {size / 1e6:.1f} MB")
    console().print(table)
    faults = [compiler_fault(), unsafe_torch(installed_version("torch"))]
    for fault in filter(None, faults):
        print(fault)
    return int(any(faults))

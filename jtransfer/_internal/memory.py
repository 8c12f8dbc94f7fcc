"""Memory that is still free, so that work that cannot fit is refused before it begins.

Linux kills a process that takes too much, without a word. Inside a container the limit
is that of its control group, of version 1 or 2, whatever the machine has.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

try:
    import resource
except ImportError:  # Not on this system; then there is no such limit.
    resource = None


def memory_fault(needed: int, root: Path = Path("/")) -> str | None:
    """Returns how far memory falls short, or None if it suffices or is unknown.

    Args:
      needed: bytes, at least.
      root: where the files of the system lie.

    Example:
      >>> memory_fault(1)
    """
    free = available_memory(root)
    if free is None or needed <= free:
        return None
    return f"needs {gigabytes(needed)}, {gigabytes(free)} available"


def gigabytes(number: int) -> str:
    """Returns bytes in GB with a digit behind the point, or small ones in MB."""
    if number < 10**8:
        return f"{number / 1e6:.1f} MB"
    return f"{number / 1e9:.1f} GB"


def available_memory(root: Path = Path("/")) -> int | None:
    """Returns the bytes that this process can still take, or None if nobody says.

    Args:
      root: where the files of the system lie.

    Returns:
      The least of what the machine, the control groups of the process and the limit of
      its address space leave.
    """
    limits = [*_of_machine(root), *_of_groups(root), *_of_addresses(root)]
    return max(0, min(limits)) if limits else None


def _of_machine(root: Path) -> Iterator[int]:
    for line in _lines(root / "proc/meminfo"):
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024
            return
    # Elsewhere than on Linux what is free, if the system has a name for it.
    with contextlib.suppress(AttributeError, ValueError, OSError):
        if root == Path("/"):
            yield os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _of_groups(root: Path) -> Iterator[int]:
    """The memory that the control groups of the process leave, and those above."""
    mounts = root / "sys/fs/cgroup"
    for line in _lines(root / "proc/self/cgroup"):
        _, kinds, path = line.split(":", 2)
        if kinds == "":
            names = ("memory.max", "memory.current", "inactive_file")
            yield from _of_hierarchy(mounts, path, *names)
        elif "memory" in kinds.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
            names = (*names, "total_inactive_file")
            yield from _of_hierarchy(mounts / "memory", path, *names)


def _of_hierarchy(mount, path, limit_name, usage_name, reclaimed_name) -> Iterator[int]:
    # Inside a container the path may be that outside; its own group is the mount then.
    parts = [part for part in path.split("/") if part not in ("", "..")]
    for length in range(len(parts), -1, -1):
        group = mount.joinpath(*parts[:length])
        limit, usage = _number(group / limit_name), _number(group / usage_name)
        if limit is not None and usage is not None:
            pages = [
                int(line.split()[1])
                for line in _lines(group / "memory.stat")
                if line.split()[:1] == [reclaimed_name]
            ]
            # Files that were read count as used, and are given up when it is full.
            yield limit - usage + sum(pages)


def _of_addresses(root: Path) -> Iterator[int]:
    if resource is None:
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    sizes = " ".join(_lines(root / "proc/self/statm")).split()
    if limit != resource.RLIM_INFINITY and sizes:
        yield limit - int(sizes[0]) * resource.getpagesize()


def _number(file: Path) -> int | None:
    lines = _lines(file)
    return int(lines[0]) if lines and lines[0].isdecimal() else None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except (OSError, ValueError):
        return []

"""`make fuzz`: many hostile inputs and every fault of files; prints what was tried.

Findings are kept in `tests/fuzz/findings`, one file each, which the tests replay.
"""

import argparse
import collections
import os
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).parents[1]
CACHE = TESTS.parent / ".cache" / "jax"
for name, value in {
    "JAX_COMPILATION_CACHE_DIR": str(CACHE),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}.items():
    os.environ.setdefault(name, value)
sys.path.insert(0, str(TESTS))

import hypothesis  # noqa: E402

from fuzz import cases, faults, strategies  # noqa: E402

_WIDTHS = (7, 8, 7, 7, 8, 10, 7)


def trial(kind: str, number: int, seed: int, counts, findings: list) -> None:
    """Tries inputs of a kind; counts exit codes and notes findings."""
    strategy, _ = strategies.KINDS[kind]

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=number,
        deadline=None,
        database=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(strategy())
    def each(case):
        code, fault = cases.tried(case)
        counts[code] += 1
        if fault:
            findings.append((case, fault))

    each()


def kept_findings(findings: list, folder: Path) -> list[Path]:
    """Writes the smallest finding of each fault, a file each."""
    smallest = {}
    for case, fault in findings:
        last = " ".join(fault.strip().splitlines()[-1:])[:80]
        size = sum(map(len, case.files.values())) + len(str(case.arguments))
        best = smallest.get((case.kind, last))
        if best is None or size < best[0]:
            smallest[case.kind, last] = (size, case, fault)
    folder.mkdir(exist_ok=True)
    paths = []
    for number, (_, case, fault) in enumerate(smallest.values()):
        paths.append(folder / f"{case.kind}-{int(time.time())}-{number}.json")
        paths[-1].write_text(cases.to_json(case, fault))
    return paths


def main() -> int:
    """Tries everything and prints a table; 1 if there are findings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="*", default=list(strategies.KINDS))
    parser.add_argument("--no-faults", action="store_true")
    arguments = parser.parse_args()
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="fuzz_cache")
    heads = ("tried", "exit 0", "1", "2", "killed", "findings", "s")
    head = f"{'kind':<20}" + "".join(map("{:>{}}".format, heads, _WIDTHS))
    print(head, flush=True)
    findings, total = [], 0
    for kind in arguments.kinds:
        start, before = time.perf_counter(), len(findings)
        counts = collections.Counter()
        number = max(1, arguments.inputs * strategies.KINDS[kind][1] // 100)
        trial(kind, number, arguments.seed, counts, findings)
        total += len(findings) - before
        _show(kind, counts, len(findings) - before, start)
    if not arguments.no_faults:
        for command in ("rank", "report"):
            for name in (*faults.NAMES, "kill"):
                start = time.perf_counter()
                counts, wrong = faults.tried(command, name)
                total += len(wrong)
                _show(f"{command}, {name}", counts, len(wrong), start)
                for line in wrong:
                    print(f"  {line}", flush=True)
    for path in kept_findings(findings, cases.FINDINGS):
        print(f"Kept {path.relative_to(TESTS.parent)}: {path.read_text()[-300:]}")
    return 1 if total else 0


def _show(kind: str, counts, num_findings: int, start: float) -> None:
    codes = [counts[code] for code in (0, 1, 2, 137)]
    seconds = round(time.perf_counter() - start)
    numbers = (sum(counts.values()), *codes, num_findings, seconds)
    row = "".join(map("{:>{}}".format, numbers, _WIDTHS))
    print(f"{kind:<20}{row}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

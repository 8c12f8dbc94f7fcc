"""Processor time of ranking against examples, features, classes and sources.

Run: `python benchmarks/scaling.py`, about 10 minutes on 2 cores; a run that is stopped
goes on where it was. Each point is the time of all scores of the sources, without the
start of the program, on one BLAS thread, appended to `docs/ranking_time.jsonl`; the
figure is `docs/ranking_time.png`. Remove the rows to measure anew.
"""

import os

os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ranking import seconds_of, task

from jtransfer import ranking, zoo

DOCS = Path(__file__).parents[1] / "docs"
ROWS = DOCS / "ranking_time.jsonl"


class Point(NamedTuple):
    """A zoo, and which of its sizes varies in a panel."""

    panel: str
    n: int = 2000
    d: int = 256
    num_classes: int = 10
    num_sources: int = 1


def points() -> Iterator[Point]:
    """Yields all points, panel by panel."""
    for n in (100, 300, 1000, 3000, 10_000, 30_000, 100_000):
        yield Point("examples", n=n)
    for d in (16, 64, 256, 512, 1024, 2048):
        yield Point("features", d=d)
    for num_classes in (2, 8, 32, 100, 200):
        yield Point("classes", num_classes=num_classes)
    for num_sources in (1, 2, 4, 8, 16, 32):
        yield Point("sources", num_sources=num_sources)


def main() -> None:
    """Measures what is not measured yet, and draws the figure."""
    rows = stored()
    missing = [point for point in points() if point not in rows]
    rank(Point("", n=100, d=8))  # Imports.
    for point in missing:
        rows[point] = rank(point)
        with ROWS.open("a") as file:
            row = {**point._asdict(), "seconds": round(rows[point], 3)}
            file.write(json.dumps(row) + "\n")
        print(f"{point}: {rows[point]:.2f} s", flush=True)
    draw(rows)


def rank(point: Point) -> float:
    """Returns the processor time of ranking a zoo."""
    features, labels = task(point.n, point.d, point.num_classes)
    sources = [
        zoo.Source(str(index), {}, lambda: features)
        for index in range(point.num_sources)
    ]
    target = zoo.labelled_target("target", labels.astype(np.int32), digest="")
    repeats = 3 if features.size < 1e6 else 1
    return min(
        seconds_of(lambda: ranking.rank_sources(sources, target))
        for _ in range(repeats)
    )


def stored() -> dict[Point, float]:
    """Returns the seconds of the points of earlier runs."""
    if not ROWS.exists():
        return {}
    rows = map(json.loads, ROWS.read_text().splitlines())
    return {Point(**row): seconds for row in rows for seconds in [row.pop("seconds")]}


def draw(rows: dict[Point, float]) -> None:
    """Draws one panel a size that varies, both axes logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 4, figsize=(13, 3.4), sharey=True)
    fields = ("n", "d", "num_classes", "num_sources")
    others = ("n = 2000", "d = 256", "10 classes", "1 source")
    for axis, panel, field in zip(
        axes, ("examples", "features", "classes", "sources"), fields, strict=True
    ):
        xs, ys = zip(
            *((getattr(p, field), s) for p, s in rows.items() if p.panel == panel),
            strict=True,
        )
        axis.loglog(xs, ys, "o-", color="#26547c")
        axis.loglog(xs, [ys[-1] * x / xs[-1] for x in xs], ":", color="gray")
        fixed = [o for o, f in zip(others, fields, strict=True) if f != field]
        axis.set(xlabel=panel, title=", ".join(fixed))
        axis.title.set_fontsize(9)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("processor seconds above the start")
    axes[0].annotate("dotted: proportional", (0.05, 0.92), xycoords="axes fraction")
    figure.tight_layout()
    figure.savefig(DOCS / "ranking_time.png", dpi=110)


if __name__ == "__main__":
    main()

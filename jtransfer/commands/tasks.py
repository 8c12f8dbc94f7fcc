"""`jtransfer tasks`: which tasks help which, and how they cluster."""

import sys
from pathlib import Path

from jtransfer.commands.options import (
    check_positive,
    check_seed,
    check_writable,
    naming,
)


def tasks_command(
    *,
    zoo: str,
    targets: tuple[Path, ...],
    second: Path | None = None,
    out: Path | None = None,
    json: bool = False,
    levels: int = 16,
    side: int = 16,
    seed: int = 0,
) -> int:
    """Compare tasks by the H-scores of one zoo of features for several targets.

    Try these:
      jtransfer tasks --zoo features/ --targets labels/*.npz --out tasks

      jtransfer tasks --zoo zoo.toml --targets a.npz b.npz --second affinity.csv

    Args:
      zoo: A folder or glob of .npz files with features [n, d] of the same n inputs.
      targets: Files with labels for these inputs, one of: labels [n], values [n] or
        [n, t], label_maps [n, h, w], label_images [n, h, w, c]; a label below zero is
        none; and optionally groups [n], of inputs that belong together.
      second: Another ranking to compare with: a .csv file with a head (target and the
        sources) and a row a target, or a .json file {target: {source: number}}.
      out: Folder for tasks.json, tasks.csv and tasks.html.
      json: Print what tasks.json holds instead of the table.
      levels: Levels to which numbers and images are quantised, at least 2.
      side: Pixels along an edge that are kept of label images, at most.
      seed: Seed of the blocks and clusters.

    Returns:
      0 if all sources were scored, 1 if one failed.
    """
    from jtransfer import report
    from jtransfer import zoo as zoos
    from jtransfer._internal.errors import RequestError
    from jtransfer._internal.progress import source_progress
    from jtransfer.ranking import Failed, task_scores, tasks
    from jtransfer.zoo import task_targets

    check_positive(side=side)
    check_seed(seed)
    if levels < 2:
        raise RequestError(f"--levels must be at least 2, got {levels}.")
    with naming("--targets"):
        quantised = [
            task_targets.task_target(path, num_levels=levels, side=side, seed=seed)
            for path in targets
        ]
        tasks.check_targets(quantised)
    with naming("--zoo"):
        sources = zoos.sources(zoo)
    other = None
    if second is not None:
        names = [source.name for source in sources]
        with naming("--second"):
            other = tasks.second_ranking(second, names, [t.name for t in quantised])
    if out is not None:
        check_writable(out)
    rows = []
    with source_progress(len(sources)) as announce:
        for source in sources:
            of_source = task_scores.task_rows(source, quantised, seed=seed)
            first = of_source[0]
            failed = isinstance(first, Failed)
            announce(source.name, f"failed: {first.reason}" if failed else "done")
            rows += of_source
    comparison = tasks.task_comparison(rows, quantised, other, seed=seed)
    if json:
        print(report.json_line(tasks.comparison_json(comparison)))
    else:
        report.show_tasks(comparison)
    if out is not None:
        for path in [*report.write_tasks(comparison, out), *report.draw_pages(out)]:
            print(f"Wrote {path}", file=sys.stderr)
    return 1 if comparison.failed else 0

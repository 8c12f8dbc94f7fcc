"""`jtransfer demo`: rankings that need neither data nor downloads."""

from pathlib import Path
from typing import TYPE_CHECKING

from jtransfer.commands.options import check_writable

if TYPE_CHECKING:
    from jtransfer.report import Ranking

_AGREES, _AGREES_IN_PART = 0.7, 0.4


def demo_command(*, models: bool = False, out: Path = Path("demo")) -> int:
    """Rank what is here already, and check the ranking against trained heads.

    Without --models it is: jtransfer rank --verify --out demo

    Try these:
      jtransfer demo

      jtransfer demo --models --out demo

    Args:
      models: Rank pretrained models that come inside packages of PyPI, for images of
        MNIST and for docstrings of SciPy, in two minutes of processor time. What is
        missing is left out, with the command that installs it.
      out: Folder for the results; with --models one folder each, images and texts.

    Returns:
      0 if all sources were scored, 1 if one failed.
    """
    if not models:
        from jtransfer.commands.rank import rank_command

        return rank_command(verify=True, out=out)
    import sys

    import jtransfer
    from jtransfer.zoo import demo

    demo.check_libraries()
    check_writable(out)
    failed, summaries = False, []
    for name, make_task in (("images", demo.image_task), ("texts", demo.text_task)):
        task = make_task()
        for line in task.lacking:
            print(line, file=sys.stderr)
        if task.target is None:
            continue
        result = jtransfer.rank(task.sources, task.target, verify=True, out=out / name)
        print(f"{task.title}\n{result}", flush=True)
        print(f"Wrote {out / name / 'report.html'}", file=sys.stderr)
        failed |= bool(result.failures)
        summaries.append(f"{name.capitalize()}: {_summary(result)}")
    print("\n".join(summaries))
    return int(failed)


def _summary(result: "Ranking") -> str:
    """Tells what to transfer from, and whether accuracy says the same."""
    from jtransfer import ranking

    if result.best is None:
        return "no source was scored."
    score = next(row.score for row in result if row.source == result.best)
    accuracy = {
        row.source: row.facts["accuracy"]
        for row in result
        if row.facts.get("accuracy") is not None
    }
    text = f"transfer from {result.best}"
    if rivals := [name for name in result.group if name != result.best]:
        text += f", which {score} cannot tell from {', '.join(rivals)}"
    if result.best in accuracy:
        text += f"; accuracy {accuracy[result.best]:.3f}"
        best = max(accuracy, key=accuracy.__getitem__)
        if accuracy[best] > accuracy[result.best]:
            text += f" (highest: {best}, {accuracy[best]:.3f})"
    for agreement in ranking.agreements(result):
        if agreement.score == score:
            rho = agreement.spearman
            how = "agrees" if rho >= _AGREES else "does not agree"
            how = "agrees in part" if _AGREES_IN_PART <= rho < _AGREES else how
            text += f"; {score} {how} with accuracy, Spearman {rho:.2f}"
    return f"{text}."

"""The command line: one function a sub-command, heavy imports inside it."""

import os
import sys
from pathlib import Path

from jtransfer._commands import terminal
from jtransfer._commands.distill_command import distill
from jtransfer._commands.image_commands import extract, train
from jtransfer._commands.pair_command import pair
from jtransfer._commands.paths import check_writable
from jtransfer._commands.select_command import select
from jtransfer._commands.tasks_command import tasks
from jtransfer._version import __version__


def rank(
    *,
    target: str | None = None,
    zoo: str | None = None,
    scores: tuple[str, ...] = (),
    verify: bool = False,
    fine_tune: bool = False,
    layers: bool = False,
    reference: str | None = None,
    data: str | None = None,
    num_images: int | None = None,
    out: Path | None = None,
    json: bool = False,
    seed: int = 0,
    per_class: int | None = None,
    num_test: int | None = None,
    data_dir: str | None = None,
    image_size: int | None = None,
) -> int:
    """Rank a zoo of pretrained models for a labelled target.

    Without --target and --zoo it ranks the networks inside the package on UCI digits.

    Try these:
      jtransfer rank --verify --out demo

      jtransfer rank --target labels.npz --zoo features/ --out ranking

      jtransfer rank --target labels.npz --zoo "features/*.npz" --scores leep logme

      jtransfer rank --target labels.npz --zoo zoo.toml --json > rows.jsonl

      jtransfer rank --target cifar10 --per-class 20 --zoo networks/ --fine-tune

      jtransfer rank --target cifar10 --zoo networks/resnet18 --layers

      jtransfer rank --target cifar10 --zoo networks/ --reference own --scores alpha1

    Args:
      target: An .npz file with labels [n], optionally class_names and test_labels; or
        a data set of images (a TFDS name, imagefolder:DIR or npz:FILE) for networks.
      zoo: A folder or glob of .npz files (features [n, d], optionally logits [n, Z],
        test_features and classifier [d, Z], the weights of the logits), of folders of
        .npz shards or of networks that jtransfer train has made; or a .toml file naming
        sources; or imagenet:efficientnet_lite0.
      scores: Scores to compute (see jtransfer ls), the deciding one first; all of them
        if none is named, but for sinkhorn, and those that need --reference without it.
        LogME, regularized H-score and the ridge probe always are.
      verify: Also train a linear head on each source and compare the scores with its
        test accuracy.
      fine_tune: Also fine-tune the whole of each network, and compare with that.
      layers: Rank each layer of a network as a source of its own.
      reference: The model of the target's task, made by jtransfer train (or the name of
        a network inside the package). With it networks are also ranked by alpha1,
        alpha2, alpha12 (attacks on the reference, fed to the source) and
        gradient_matching, in minutes rather than seconds. See jtransfer pair for the
        attack.
      data: Images on which reference and sources meet, the test split of a data set;
        by default the labelled images of --target.
      num_images: How many of them, at most, drawn at random; 500 by default.
      out: Folder for ranking.jsonl, ranking.csv and report.html; a rerun goes on.
      json: Print the rows as JSON lines instead of the table.
      seed: Seed of the blocks, the shuffled labels and the heads.
      per_class: Labelled images of each class of a target of images; all by default.
      num_test: Test images, at most; all by default.
      data_dir: Where prepared TFDS data sets lie; TFDS_DATA_DIR by default.
      image_size: Side to which images of different sizes are resized.

    Returns:
      0 if all sources were scored, 1 if one failed.
    """
    from jtransfer import ranking, report, verification
    from jtransfer import zoo as zoos

    if (target is None) != (zoo is None):
        given, missing = ("zoo", "target") if target is None else ("target", "zoo")
        raise zoos.RequestError(f"--{given} needs --{missing} beside it.")
    if layers and target is None:
        raise zoos.RequestError("--layers needs --target and --zoo beside it.")
    if seed < 0:
        raise zoos.RequestError(f"--seed must not be negative, got {seed}.")
    if reference is None and (data is not None or num_images is not None):
        raise zoos.RequestError("--data and --num-images need --reference beside them.")
    for name in scores:
        if name not in ranking.SCORES:
            raise zoos.RequestError(ranking.unknown_score(name))
    if target is None:
        labels, sources = zoos.embedded_target(), zoos.embedded_sources()
    else:
        if ":" not in target and target.endswith(".npz"):
            labels = zoos.target(target)
        else:
            labels = zoos.image_target(
                target,
                per_class=per_class,
                num_test=num_test,
                seed=seed,
                data_dir=data_dir,
                image_size=image_size,
            )
        sources = zoos.sources(zoo, labels, layers=layers)
    compared = None
    if reference is not None:
        compared = zoos.reference(
            reference,
            labels,
            data_spec=data,
            num_images=zoos.NUM_IMAGES if num_images is None else num_images,
            data_dir=data_dir,
            image_size=image_size,
        )
    if out is not None:
        check_writable(out)
    heads = verification.head_accuracy if verify else None
    with terminal.progress(len(sources)) as announce:
        rows = ranking.rank(
            sources,
            labels,
            scores,
            seed=seed,
            verify=verification.fine_tuned_accuracy if fine_tune else heads,
            reference=compared,
            folder=out,
            announce=announce,
        )
    paths = [] if out is None else report.written(rows, out)
    if json:
        print("\n".join(report.json_line(row) for row in rows))
    else:
        terminal.show(rows)
    for line in report.missing(rows, scores):
        print(f"Not computed: {line}", file=sys.stderr)
    for path in paths:
        print(f"Wrote {path}", file=sys.stderr)
    return 1 if report.failures(rows) else 0


def report(folder: Path, /) -> int:
    """Show a ranking or a pair again, and write its pages anew.

    Try these:
      jtransfer report demo

    Args:
      folder: A folder that jtransfer rank --out or jtransfer pair --out has filled.

    Returns:
      0, or 1 if a source had failed.
    """
    from jtransfer import report as reports
    from jtransfer._pair import report as pair_report

    shown, faulty, paths = pair_report.read(folder), [], []
    if shown is None or (folder / reports.ROWS_FILE).exists():
        rows = reports.read(folder)
        check_writable(folder)
        paths, faulty = reports.written(rows, folder), reports.failures(rows)
        terminal.show(rows)
    if shown is not None:
        paths += pair_report.written(shown, folder)
        pair_report.show(shown)
    for path in dict.fromkeys(paths):
        print(f"Wrote {path}", file=sys.stderr)
    return 1 if faulty else 0


def ls() -> int:
    """List the scores, what each needs, and the networks inside the package.

    Returns:
      0.
    """
    from rich.console import Console
    from rich.table import Table

    from jtransfer import embedded, ranking

    scores = Table("score", "needs", "reference", header_style="bold")
    needs = {"probabilities": "logits", "source_labels": "logits"}
    needs |= dict.fromkeys(ranking.OF_REFERENCE, "a network, --reference")
    needs |= dict.fromkeys(ranking.ON_REQUEST, "features, logits; by name only")
    for name, score in ranking.SCORES.items():
        scores.add_row(name, needs.get(score.needs, "features"), score.reference)
    networks = Table("embedded source", "accuracy there", "what it learned")
    for network in embedded.networks():
        accuracy = network.facts.get("source_accuracy")
        shown = "-" if accuracy is None else f"{accuracy:.3f}"
        networks.add_row(network.name, shown, str(network.facts.get("source", "")))
    console = Console()
    console.print(scores)
    console.print(networks)
    return 0


def main() -> None:
    """Runs the command line; exits with 0, 1 (a source failed) or 2 (bad request)."""
    import tyro

    if sys.argv[1:] == ["--version"]:
        print(__version__)
        sys.exit(0)
    commands = {
        "rank": rank,
        "train": train,
        "distill": distill,
        "select": select,
        "extract": extract,
        "pair": pair,
        "tasks": tasks,
        "report": report,
        "ls": ls,
    }
    try:
        code = tyro.extras.subcommand_cli_from_dict(
            commands,
            prog="jtransfer",
            description="Which pretrained model should I transfer from?",
            config=(tyro.conf.FlagCreatePairsOff,),
        )
    except BrokenPipeError:
        # Whoever read our output has gone; so may we.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    except KeyboardInterrupt:
        print("jtransfer: interrupted; a rerun with --out continues.", file=sys.stderr)
        code = 130
    except ValueError as error:
        from jtransfer.data import DataError
        from jtransfer.zoo import RequestError

        if not isinstance(error, RequestError | DataError):
            raise
        print(f"jtransfer: {error}", file=sys.stderr)
        code = 2
    sys.exit(code)

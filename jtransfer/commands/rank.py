"""`jtransfer rank`: the sources of a zoo in order for a target."""

import sys
from pathlib import Path

from jtransfer.commands.options import check_writable


def rank_command(
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
    from jtransfer import ranking, report
    from jtransfer import zoo as zoos
    from jtransfer._internal.errors import RequestError
    from jtransfer._internal.progress import source_progress
    from jtransfer.ranking import verification

    if (target is None) != (zoo is None):
        given, missing = ("zoo", "target") if target is None else ("target", "zoo")
        raise RequestError(f"--{given} needs --{missing} beside it.")
    if layers and target is None:
        raise RequestError("--layers needs --target and --zoo beside it.")
    if seed < 0:
        raise RequestError(f"--seed must not be negative, got {seed}.")
    if reference is None and (data is not None or num_images is not None):
        raise RequestError("--data and --num-images need --reference beside them.")
    for name in scores:
        if name not in ranking.SCORES:
            raise RequestError(ranking.unknown_score(name))
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
    with source_progress(len(sources)) as announce:
        rows = ranking.rank_sources(
            sources,
            labels,
            scores,
            seed=seed,
            verify=verification.fine_tuned_accuracy if fine_tune else heads,
            reference=compared,
            folder=out,
            announce=announce,
        )
    paths = []
    if out is not None:
        paths = [*report.write_ranking(rows, out), *report.draw_pages(out)]
    if json:
        print("\n".join(report.json_line(ranking.to_json(row)) for row in rows))
    else:
        report.show_ranking(rows)
    for line in report.missing_lines(rows, scores):
        print(f"Not computed: {line}", file=sys.stderr)
    for path in paths:
        print(f"Wrote {path}", file=sys.stderr)
    return 1 if report.failure_lines(rows) else 0

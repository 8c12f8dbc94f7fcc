"""`jtransfer rank`: the sources of a zoo in order for a target."""

import dataclasses
import sys
from pathlib import Path

from jtransfer.commands.options import (
    ModelOptions,
    ReadingOptions,
    check_kept,
    check_positive,
    check_seed,
    flags,
    refuse,
)


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
    num_examples: int | None = None,
    out: Path | None = None,
    json: bool = False,
    seed: int = 0,
    per_class: int | None = None,
    num_test: int | None = None,
    text_column: tuple[str, ...] = (),
    label_column: str | None = None,
    reading: ReadingOptions = ReadingOptions(),
    models: ModelOptions = ModelOptions(),
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

      jtransfer rank --target imagefolder:photos --image-size 256 --zoo models.txt

      jtransfer rank --target reviews.csv --text-column review --zoo hf:./bert

      jtransfer rank --target cifar10 --zoo networks/ --reference own --scores alpha1

      jtransfer rank --target reviews.csv --zoo texts/ --reference own --scores alpha2

    Args:
      target: An .npz file with labels [n], optionally class_names, test_labels and
        groups [n] (of examples that belong together, such as images of a patient); or a
        data set of images (a TFDS name, imagefolder:DIR, saved:DIR or npz:FILE) for
        networks; or texts, a .csv, .jsonl or .parquet file, a saved data set of
        Hugging Face or a TFDS name, for models of texts.
      zoo: A folder or glob of .npz files (features [n, d], optionally logits [n, Z],
        test_features and classifier [d, Z], the weights of the logits), of folders of
        .npz shards or of networks that jtransfer train has made; or a .toml file naming
        sources; or imagenet:efficientnet_lite0 (or 1, 2); or a model of another
        library, such as timm:resnet18, hf:FOLDER, torchvision:resnet18,
        torch:module:factory, onnx:FILE, flax:module:factory, py:module:function; or a
        .txt file of these.
      scores: Scores to compute (see jtransfer ls), the deciding one first. If none is
        named all but those that ls marks "by name only", and those that need
        --reference without it; "all" is these too. LogME, regularized H-score and the
        ridge probe always are.
      verify: Also train a linear head on each source and compare the scores with its
        test accuracy.
      fine_tune: The same by fine-tuning the whole of each network.
      layers: Rank each layer of a network as a source of its own.
      reference: The model of the target's task, made by jtransfer train (or the name of
        a network inside the package). With it networks are also ranked by alpha1,
        alpha2, alpha12 (attacks on the reference, fed to the source) and
        gradient_matching, in minutes rather than seconds. See jtransfer pair for the
        attack. Networks of texts meet on texts, and need the same tokenizer.
      data: Images or texts on which reference and sources meet, the test split of a
        data set; by default the labelled examples of --target.
      num_examples: How many of these, at most, drawn at random; 500 images or 100 texts
        by default.
      out: Folder for ranking.jsonl, ranking.csv and report.html; a rerun goes on.
      json: Print the rows as JSON lines instead of the table.
      seed: Seed of the blocks, the shuffled labels and the heads.
      per_class: Labelled examples of each class of a target of images or texts; all by
        default.
      num_test: Test images or texts, at most; all by default.
      text_column: Column of the texts, or two of pairs of texts; text by default.
      label_column: Column of their classes; label by default, and of a TFDS data set
        its own.
      reading: How the images of --target and --data are read.
      models: How models of other libraries are applied.

    Returns:
      0 if all sources were scored, 1 if one failed.

    Raises:
      FileError: if results could not be kept; they are shown before.
    """
    import warnings

    import jtransfer
    from jtransfer import ranking, report
    from jtransfer._internal.errors import RequestError

    if (target is None) != (zoo is None):
        given, missing = ("zoo", "target") if target is None else ("target", "zoo")
        raise RequestError(f"--{given} needs --{missing} beside it.")
    if target is None:
        refuse("without --target and --zoo", models=models)
    models.check()
    if layers and target is None:
        raise RequestError("--layers needs --target and --zoo beside it.")
    if verify and fine_tune:
        raise RequestError("--verify and --fine-tune exclude each other; give one.")
    check_seed(seed)
    check_positive(per_class=per_class, num_test=num_test, num_examples=num_examples)
    reading.check()
    if reference is None:
        refuse("without --reference", data=data, num_examples=num_examples)
    with flags(sources="zoo"), warnings.catch_warnings():
        # What could not be written is told at the end.
        warnings.simplefilter("ignore", RuntimeWarning)
        ranked = jtransfer.rank(
            zoo,
            target,
            scores=scores,
            verify=verify,
            fine_tune=fine_tune,
            layers=layers,
            reference=reference,
            data=data,
            num_examples=num_examples,
            per_class=per_class,
            num_test=num_test,
            text_column=text_column,
            label_column=label_column,
            seed=seed,
            out=out,
            **dataclasses.asdict(reading),
            **dataclasses.asdict(models),
        )
    rows = list(ranked)
    if json:
        print("\n".join(report.json_line(ranking.to_json(row)) for row in rows))
    else:
        report.show_ranking(rows)
    for line in report.missing_lines(rows, scores):
        print(f"Not computed: {line}", file=sys.stderr)
    if not models.download and any("a download" in str(row) for row in rows):
        print("Weights that are not here: --download fetches them.", file=sys.stderr)
    for path in ranked.files:
        print(f"Wrote {path}", file=sys.stderr)
    check_kept(list(ranked.unkept))
    return 1 if report.failure_lines(rows) else 0

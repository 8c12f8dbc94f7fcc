"""`jtransfer train`: a network from images or texts."""

from pathlib import Path

from jtransfer.commands.options import (
    ReadingOptions,
    RecipeOptions,
    check_positive,
    check_seed,
    check_writable,
    refuse,
    split_images,
)
from jtransfer.commands.train_texts import train_on_texts


def train_command(
    *,
    model: str,
    data: str,
    out: Path,
    classes: tuple[str, ...] = (),
    recipe: RecipeOptions = RecipeOptions(),
    bfloat16: bool = False,
    steps_per_dispatch: int = 1,
    num_examples: int | None = None,
    keep_centers: bool = False,
    tokens: int | None = None,
    text_column: tuple[str, ...] = (),
    label_column: str | None = None,
    seed: int = 0,
    reading: ReadingOptions = ReadingOptions(),
) -> int:
    """Train a network on images or texts; a folder of such networks is a zoo.

    On texts all layers of a BERT are fine-tuned, with AdamW, a warm-up and a linear
    fall; the texts need pip install 'jtransfer[text]'.

    Try these:
      jtransfer train --model resnet18 --width 8 --data cifar10 --out zoo/resnet18

      jtransfer train --model wrn-16-1 --data cifar100 --classes 0-49 --out zoo/first

      jtransfer train --model lenet --data imagefolder:pets --image-size 32 --out pets

      jtransfer train --model ./minilm --data reviews.csv --out zoo/reviews

    Args:
      model: resnet18, resnet34, resnet50, wrn-DEPTH-WIDTH, vgg4, vgg9, alexnet, lenet,
        mobilenet-WIDTH or fully_connected; for texts the folder of a BERT of Hugging
        Face, or of a network that this command has made from texts.
      data: A prepared TFDS data set by its name, imagefolder:DIR or npz:FILE; or
        texts, a .csv, .jsonl or .parquet file or a saved data set of Hugging Face.
        Without a split test a fifth of the texts is tested on.
      out: Folder for the network, its checkpoints and its log; a rerun goes on there.
      classes: Names or numbers of the classes, such as 0-49; all by default.
      recipe: How it is trained.
      bfloat16: Compute in bfloat16.
      steps_per_dispatch: Steps that an accelerator makes in one go.
      num_examples: Use the first training and test images only, so many of each; of
        texts so many drawn alike from the classes.
      keep_centers: Write the mean embedding of each class with the network. The costs
        of distill and select, and the score sinkhorn, then use it in place of the
        weights of the last layer; untrained features do well by it, too.
      tokens: Of every text, longer ones are cut; 64 by default, with paper 256.
      text_column: Column of the texts, or two of pairs of texts; text by default.
      label_column: Column of their classes; label by default.
      seed: Seed of weights, order and augmentation.
      reading: How images are read.

    Returns:
      0.
    """
    import dataclasses

    from jtransfer import networks, transfer
    from jtransfer.zoo import is_file_of_texts, is_text_table

    recipe.check()
    reading.check()
    check_positive(num_examples=num_examples, steps_per_dispatch=steps_per_dispatch)
    check_seed(seed)
    of_texts = {
        "tokens": tokens,
        "text_column": text_column or None,
        "label_column": label_column,
    }
    if is_text_table(data, data_dir=reading.data_dir):
        refuse(
            "for texts",
            classes=classes or None,
            width=recipe.width,
            bfloat16=bfloat16,
            steps_per_dispatch=None if steps_per_dispatch == 1 else steps_per_dispatch,
            keep_centers=keep_centers,
            image_size=reading.image_size,
        )
        if is_file_of_texts(data):
            refuse(f"for {data}", data_dir=reading.data_dir)
        return train_on_texts(
            model,
            data,
            out,
            recipe,
            num_examples=num_examples,
            seed=seed,
            data_dir=reading.data_dir,
            **of_texts,
        )
    train, test = (
        split_images(data, split, reading, num_examples=num_examples, classes=classes)
        for split in ("train", "test")
    )
    refuse("for images", **of_texts)
    settings = dataclasses.replace(
        transfer.TRAINING_PRESETS[recipe.preset],
        bfloat16=bfloat16,
        steps_per_dispatch=steps_per_dispatch,
        **recipe.changes(),
    )
    check_writable(out)
    network = transfer.train_network(
        networks.Architecture(
            model=model,
            num_classes=len(train.class_names),
            num_channels=train.images.shape[3],
            image_size=train.images.shape[1],
            base_width=recipe.width,
        ),
        train,
        test,
        recipe=settings,
        folder=out,
        seed=seed,
        keep_centers=keep_centers,
        facts={"source": f"{data}, {len(train.class_names)} classes", "model": model},
    )
    print(f"{out}: test accuracy {network.facts['source_accuracy']:.4f}")
    return 0

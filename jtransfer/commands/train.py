"""`jtransfer train`: a network from images."""

from pathlib import Path

from jtransfer.commands.options import (
    ReadingOptions,
    RecipeOptions,
    check_positive,
    check_seed,
    check_writable,
    split_images,
)


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
    seed: int = 0,
    reading: ReadingOptions = ReadingOptions(),
) -> int:
    """Train a network on images; a folder of such networks is a zoo.

    Try these:
      jtransfer train --model resnet18 --width 8 --data cifar10 --out zoo/resnet18

      jtransfer train --model wrn-16-1 --data cifar100 --classes 0-49 --out zoo/first

      jtransfer train --model lenet --data imagefolder:pets --image-size 32 --out pets

    Args:
      model: resnet18, resnet34, resnet50, wrn-DEPTH-WIDTH, vgg4, vgg9, alexnet, lenet,
        mobilenet-WIDTH or fully_connected.
      data: A prepared TFDS data set by its name, imagefolder:DIR or npz:FILE.
      out: Folder for the network, its checkpoints and its log; a rerun goes on there.
      classes: Names or numbers of the classes, such as 0-49; all by default.
      recipe: How it is trained.
      bfloat16: Compute in bfloat16.
      steps_per_dispatch: Steps that an accelerator makes in one go.
      num_examples: Use the first training and test images only, so many of each.
      keep_centers: Write the mean embedding of each class with the network. The costs
        of distill and select, and the score sinkhorn, then use it in place of the
        weights of the last layer; untrained features do well by it, too.
      seed: Seed of weights, order and augmentation.
      reading: How images are read.

    Returns:
      0.
    """
    import dataclasses

    from jtransfer import networks, transfer

    recipe.check()
    reading.check()
    check_positive(num_examples=num_examples, steps_per_dispatch=steps_per_dispatch)
    check_seed(seed)
    train, test = (
        split_images(data, split, reading, num_examples=num_examples, classes=classes)
        for split in ("train", "test")
    )
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

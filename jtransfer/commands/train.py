"""The commands of the command line that work on images; heavy imports inside."""

from pathlib import Path
from typing import Literal

from jtransfer.commands.options import check_writable


def train_command(
    *,
    model: str,
    data: str,
    out: Path,
    classes: tuple[str, ...] = (),
    preset: Literal["cpu", "paper"] = "cpu",
    width: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    bfloat16: bool = False,
    steps_per_dispatch: int = 1,
    limit: int | None = None,
    seed: int = 0,
    data_dir: str | None = None,
    image_size: int | None = None,
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
      preset: Settings that the other options change.
      width: Channels of the first layer; the published number by default.
      epochs: Passes over the training images.
      batch_size: Images a step.
      learning_rate: The highest rate.
      bfloat16: Compute in bfloat16.
      steps_per_dispatch: Steps that an accelerator makes in one go.
      limit: Use the first training and test images only.
      seed: Seed of weights, order and augmentation.
      data_dir: Where prepared TFDS data sets lie; TFDS_DATA_DIR by default.
      image_size: Side to which images of different sizes are resized.

    Returns:
      0.
    """
    import dataclasses

    from jtransfer import data as images
    from jtransfer import networks, transfer
    from jtransfer.data import subsets

    changes = {
        "num_epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "bfloat16": bfloat16,
        "steps_per_dispatch": steps_per_dispatch,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    recipe = dataclasses.replace(transfer.TRAINING_PRESETS[preset], **given)
    options = {"data_dir": data_dir, "image_size": image_size, "limit": limit}
    parts = [
        subsets.named_class_subset(images.load(data, split, **options), classes)
        for split in ("train", "test")
    ]
    check_writable(out)
    shape = parts[0].images.shape
    network = transfer.train_network(
        networks.Architecture(
            model=model,
            num_classes=len(parts[0].class_names),
            num_channels=shape[-1],
            image_size=shape[1],
            base_width=width,
        ),
        *parts,
        recipe=recipe,
        folder=out,
        seed=seed,
        facts={
            "source": f"{data}, {len(parts[0].class_names)} classes",
            "model": model,
        },
    )
    print(f"{out}: test accuracy {network.facts['source_accuracy']:.4f}")
    return 0

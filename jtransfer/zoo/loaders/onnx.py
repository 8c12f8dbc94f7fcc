"""`onnx:FILE`: networks in the Open Neural Network Exchange format."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jtransfer._internal.errors import SourceError, one_line
from jtransfer.zoo.loaders.images import normalizing, rgb
from jtransfer.zoo.loaders.types import Fetching, LoadedModel
from jtransfer.zoo.specs import ModelSpec

LAYOUTS, ORDERS = ("nchw", "nhwc"), ("rgb", "bgr")
_PRODUCTS = ("Gemm", "MatMul")


def onnx_model(spec: ModelSpec, *, fetching: Fetching) -> LoadedModel:
    """Loads an ONNX file of images with one input.

    Args:
      spec: `layer` names a value whose output is the features; by default what the last
        matrix product takes. `layout` nchw or nhwc, `order` rgb or bgr; and those of
        `images.normalizing`, channels in the order that the network takes.
      fetching: means nothing here.

    Raises:
      SourceError: if the file is absent or damaged, lies partly elsewhere, or has no
        such layer.
    """
    import onnx
    import onnxruntime

    path, options = Path(spec.model).expanduser(), dict(spec.options)
    if not path.is_file():
        raise SourceError(f"There is no file {path}.")
    graph = _checked(path)
    layer = options.get("layer") or _last_product(graph)
    known = {name for node in graph.graph.node for name in node.output}
    if layer not in known:
        raise SourceError(f"It has no value {layer!r}; the last: {sorted(known)[-1]}.")
    if all(output.name != layer for output in graph.graph.output):
        graph.graph.output.append(onnx.helper.make_empty_tensor_value_info(layer))
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(
            graph.SerializeToString(), settings, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # Of many kinds.
        raise SourceError(f"onnxruntime refuses it: {one_line(error)[:300]}") from error
    (first, *others) = session.get_inputs()
    if others:
        raise SourceError(f"It takes {1 + len(others)} inputs; images are one.")
    batch, resolved = _batches(options)
    name = session.get_outputs()[0].name

    fixed = first.shape[0] if isinstance(first.shape[0], int) else None

    def outputs(images: np.ndarray):
        x, n = batch(images), len(images)
        size = fixed or n
        x = np.concatenate([x, np.repeat(x[-1:], -n % size, axis=0)])
        parts = [
            session.run([layer, name], {first.name: x[i : i + size]})
            for i in range(0, len(x), size)
        ]
        features, logits = (
            np.concatenate(part)[:n] for part in zip(*parts, strict=True)
        )
        own = logits if name != layer and logits.ndim == 2 else None
        return _pooled(features, resolved["layout"]).reshape(n, -1), own

    stated = {p.key.lower(): p.value for p in graph.metadata_props}
    licence = stated.get("licence") or stated.get("license") or "not stated"
    facts = {"parameters": _num_parameters(graph), "licence": licence}
    return LoadedModel(
        outputs=outputs,
        facts=facts,
        files=(path,),
        resolved={**resolved, "layer": layer},
        packages=("onnxruntime", "onnx", "pillow"),
    )


def _pooled(features: np.ndarray, layout: str) -> np.ndarray:
    """Averages maps over space, and tokens."""
    if features.ndim == 4:
        return features.mean(axis=(1, 2) if layout == "nhwc" else (2, 3))
    return features.mean(axis=1) if features.ndim == 3 else features


def _num_parameters(graph) -> int:
    """Numbers in initializers, and in constants, as which some libraries write them."""
    return sum(math.prod(tensor.dims) for tensor in _tensors(graph.graph))


def _tensors(graph) -> Iterator:
    """All tensors of a graph, of its nodes and of the graphs in these."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _tensors_of_nodes([graph])


def _tensors_of_nodes(graphs) -> Iterator:
    attributes = (a for graph in graphs for node in graph.node for a in node.attribute)
    for attribute in attributes:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        inner = [attribute.g] if attribute.HasField("g") else []
        for graph in [*inner, *attribute.graphs]:
            yield from _tensors(graph)


def _checked(path: Path):
    """The graph of a file that is whole and lies in one piece."""
    import onnx

    try:
        graph = onnx.load(path, load_external_data=False)
    except Exception as error:  # Of many kinds.
        raise SourceError(f"{path.name} is damaged: {one_line(error)[:200]}") from error
    for tensor in [*_tensors(graph.graph), *_tensors_of_nodes(graph.functions)]:
        if tensor.external_data:
            raise SourceError(
                f"{path.name} keeps weights in other files; save it as one file."
            )
    try:
        onnx.checker.check_model(graph)
    except Exception as error:  # Of many kinds.
        raise SourceError(
            f"{path.name} is no sound model: {one_line(error)[:200]}"
        ) from error
    return graph


def _last_product(graph) -> str:
    products = [node for node in graph.graph.node if node.op_type in _PRODUCTS]
    if not products:
        raise SourceError("It has no matrix product; name the value of a layer.")
    return products[-1].input[0]


def _batches(options: dict[str, str]):
    layout, order = options.get("layout", "nchw"), options.get("order", "rgb")
    if layout not in LAYOUTS or order not in ORDERS:
        raise SourceError(f"layout is one of {LAYOUTS}, order one of {ORDERS}.")
    normalized, settings = normalizing(options)

    def batch(images: np.ndarray) -> np.ndarray:
        images = rgb(images)
        x = normalized(images[..., ::-1] if order == "bgr" else images)
        return np.ascontiguousarray(x if layout == "nhwc" else x.transpose(0, 3, 1, 2))

    return batch, {**settings, "layout": layout, "order": order}

"""Variables of networks, without Flax."""

from typing import Any, NamedTuple


class Variables(NamedTuple):
    """All that a seed or training changes in a network, as nested dicts of arrays.

    Attributes:
      params: what an optimiser updates; `params["classifier"]["kernel"]`, shape
        ``[d, C]``, holds the weights of the last layer.
      stats: running means and variances of batch normalisation; empty without it.
    """

    params: dict[str, Any]
    stats: dict[str, Any]

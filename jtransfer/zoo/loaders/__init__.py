"""Models of other libraries, one file a library; imported by extraction alone."""

from jtransfer.zoo.loaders.types import LoadedModel as LoadedModel

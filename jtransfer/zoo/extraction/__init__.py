"""Features of models of other libraries: one process a model, kept by content."""

from jtransfer.zoo.extraction.features import DEFAULT_EXTRACTION as DEFAULT_EXTRACTION
from jtransfer.zoo.extraction.features import Extraction as Extraction
from jtransfer.zoo.extraction.features import model_source as model_source

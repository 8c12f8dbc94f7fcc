"""Features of models of other libraries: one process a model, kept by content."""

from jtransfer.zoo.extraction.cache import CachedFeatures as CachedFeatures
from jtransfer.zoo.extraction.cache import cached_features as cached_features
from jtransfer.zoo.extraction.cache import limit_features as limit_features
from jtransfer.zoo.extraction.cache import models_cache as models_cache
from jtransfer.zoo.extraction.cache import remove_ended_work as remove_ended_work
from jtransfer.zoo.extraction.cache import remove_features as remove_features
from jtransfer.zoo.extraction.features import DEFAULT_EXTRACTION as DEFAULT_EXTRACTION
from jtransfer.zoo.extraction.features import Extraction as Extraction
from jtransfer.zoo.extraction.sources import (
    model_layer_sources as model_layer_sources,
)
from jtransfer.zoo.extraction.sources import model_reference as model_reference
from jtransfer.zoo.extraction.sources import model_source as model_source
from jtransfer.zoo.extraction.sources import prepare as prepare

"""A zoo: named sources of features, logits and functions, and the target they serve.

Sources come from `.npz` files, from folders of `.npz` shards, from networks that
`jtransfer train` has made, from a TOML file that names them and declares facts about
them, or from the networks inside the package.
"""

from jtransfer._internal.errors import RequestError as RequestError
from jtransfer._internal.errors import SourceError as SourceError
from jtransfer._internal.errors import one_line as one_line
from jtransfer._internal.moved import moved_attribute
from jtransfer._internal.provenance import images_fingerprint as images_fingerprint
from jtransfer.zoo._embedded import embedded_sources as embedded_sources
from jtransfer.zoo._embedded import embedded_target as embedded_target
from jtransfer.zoo._references import NUM_IMAGES as NUM_IMAGES
from jtransfer.zoo._references import NUM_TEXTS as NUM_TEXTS
from jtransfer.zoo._references import Reference as Reference
from jtransfer.zoo._references import held_out_images as held_out_images
from jtransfer.zoo._references import named_source as named_source
from jtransfer.zoo._references import reference as reference
from jtransfer.zoo._references import reference_facts as reference_facts
from jtransfer.zoo._source_types import Source as Source
from jtransfer.zoo._source_types import files_digest as files_digest
from jtransfer.zoo._source_types import is_number as is_number
from jtransfer.zoo._source_types import pieces as pieces
from jtransfer.zoo._source_types import source_errors as source_errors
from jtransfer.zoo._sources import sources as sources
from jtransfer.zoo._targets import Target as Target
from jtransfer.zoo._targets import equal_examples as equal_examples
from jtransfer.zoo._targets import image_target as image_target
from jtransfer.zoo._targets import labelled_target as labelled_target
from jtransfer.zoo._targets import target as target
from jtransfer.zoo._targets import target_examples_at as target_examples_at
from jtransfer.zoo._text_rows import TextReading as TextReading
from jtransfer.zoo.extraction import DEFAULT_EXTRACTION as DEFAULT_EXTRACTION
from jtransfer.zoo.extraction import Extraction as Extraction
from jtransfer.zoo.extraction import limit_features as limit_features
from jtransfer.zoo.extraction import model_source as model_source
from jtransfer.zoo.extraction import models_cache as models_cache
from jtransfer.zoo.extraction import prepare as prepare
from jtransfer.zoo.kept_zoo import write_zoo as write_zoo
from jtransfer.zoo.objects import object_source as object_source
from jtransfer.zoo.text_targets import TABLES as TABLES
from jtransfer.zoo.text_targets import held_out_texts as held_out_texts
from jtransfer.zoo.text_targets import is_file_of_texts as is_file_of_texts
from jtransfer.zoo.text_targets import is_text_table as is_text_table
from jtransfer.zoo.text_targets import split_texts as split_texts
from jtransfer.zoo.text_targets import text_target as text_target


def __getattr__(name: str):
    return moved_attribute(__name__, name)

"""A zoo: named sources of features, logits and functions, and the target they serve.

Sources come from `.npz` files, from folders of `.npz` shards, from networks that
`jtransfer train` has made, from a TOML file that names them and declares facts about
them, or from the networks inside the package.
"""

from jtransfer._embedded_zoo import embedded_sources as embedded_sources
from jtransfer._embedded_zoo import embedded_target as embedded_target
from jtransfer._references import NUM_IMAGES as NUM_IMAGES
from jtransfer._references import Reference as Reference
from jtransfer._references import held_out_images as held_out_images
from jtransfer._references import images_digest as images_digest
from jtransfer._references import model as model
from jtransfer._references import reference as reference
from jtransfer._references import reference_facts as reference_facts
from jtransfer._sources import Source as Source
from jtransfer._sources import SourceError as SourceError
from jtransfer._sources import file_digest as file_digest
from jtransfer._sources import is_number as is_number
from jtransfer._sources import one_line as one_line
from jtransfer._sources import pieces as pieces
from jtransfer._sources import sources as sources
from jtransfer._targets import RequestError as RequestError
from jtransfer._targets import Target as Target
from jtransfer._targets import image_target as image_target
from jtransfer._targets import labelled_target as labelled_target
from jtransfer._targets import target as target

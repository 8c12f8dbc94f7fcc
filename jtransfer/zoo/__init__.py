"""A zoo: named sources of features, logits and functions, and the target they serve.

Sources come from `.npz` files, from folders of `.npz` shards, from networks that
`jtransfer train` has made, from a TOML file that names them and declares facts about
them, or from the networks inside the package.
"""

from jtransfer.zoo._embedded import embedded_sources as embedded_sources
from jtransfer.zoo._embedded import embedded_target as embedded_target
from jtransfer.zoo._references import NUM_IMAGES as NUM_IMAGES
from jtransfer.zoo._references import Reference as Reference
from jtransfer.zoo._references import held_out_images as held_out_images
from jtransfer.zoo._references import images_digest as images_digest
from jtransfer.zoo._references import model as model
from jtransfer.zoo._references import reference as reference
from jtransfer.zoo._references import reference_facts as reference_facts
from jtransfer.zoo._sources import Source as Source
from jtransfer.zoo._sources import SourceError as SourceError
from jtransfer.zoo._sources import file_digest as file_digest
from jtransfer.zoo._sources import is_number as is_number
from jtransfer.zoo._sources import one_line as one_line
from jtransfer.zoo._sources import pieces as pieces
from jtransfer.zoo._sources import sources as sources
from jtransfer.zoo._targets import RequestError as RequestError
from jtransfer.zoo._targets import Target as Target
from jtransfer.zoo._targets import image_target as image_target
from jtransfer.zoo._targets import labelled_target as labelled_target
from jtransfer.zoo._targets import target as target

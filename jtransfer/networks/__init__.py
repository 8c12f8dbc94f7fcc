"""Trained networks: by name, on disk, and applied to images.

A network on disk is a folder with `network.json` (architecture, classes, facts) and
`variables.npz` (plain arrays): nothing in it can run.
"""

from jtransfer.networks._outputs import function as function
from jtransfer.networks._outputs import layer_outputs as layer_outputs
from jtransfer.networks._outputs import layers as layers
from jtransfer.networks._outputs import outputs as outputs
from jtransfer.networks.architectures import EXAMPLES as EXAMPLES
from jtransfer.networks.architectures import Architecture as Architecture
from jtransfer.networks.architectures import Network as Network
from jtransfer.networks.architectures import abstract as abstract
from jtransfer.networks.architectures import apply_fn_of as apply_fn_of
from jtransfer.networks.architectures import count as count
from jtransfer.networks.architectures import model as model
from jtransfer.networks.architectures import takes_vectors as takes_vectors
from jtransfer.networks.disk import ARRAYS_FILE as ARRAYS_FILE
from jtransfer.networks.disk import JSON_FILE as JSON_FILE
from jtransfer.networks.disk import read_network as read_network
from jtransfer.networks.disk import variable_names as variable_names
from jtransfer.networks.disk import variables_in as variables_in
from jtransfer.networks.disk import write_network as write_network

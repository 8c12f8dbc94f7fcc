"""Distances of one function from affine maps of another, in gradients and in values.

The distances are root mean squares over the examples, in the metric `H` of the outputs
of the reference. They are those of Liang et al., "Uncovering the Connections Between
Adversarial Transferability and Knowledge Transferability", 2021: with the reference
model of the target as `reference` and a source model as `source` that of Eq. (16), and
with the two swapped that of Eq. (18).
"""

from jtransfer.matching.bounds import Bounds as Bounds
from jtransfer.matching.bounds import (
    knowledge_transfer_bounds as knowledge_transfer_bounds,
)
from jtransfer.matching.bounds import reverse_matching_bound as reverse_matching_bound
from jtransfer.matching.by_attack import AttackShares as AttackShares
from jtransfer.matching.by_attack import attack_shares as attack_shares
from jtransfer.matching.distances import Affine as Affine
from jtransfer.matching.distances import (
    function_matching_distance as function_matching_distance,
)
from jtransfer.matching.distances import function_matching_map as function_matching_map
from jtransfer.matching.distances import (
    gradient_matching_distance as gradient_matching_distance,
)
from jtransfer.matching.distances import gradient_matching_map as gradient_matching_map
from jtransfer.matching.explained import explained_gradient as explained_gradient

"""Optimal transport with entropy between class probabilities, and its costs."""

from jtransfer.sinkhorn.centers import centred_centers as centred_centers
from jtransfer.sinkhorn.centers import class_centers as class_centers
from jtransfer.sinkhorn.centers import classifier_centers as classifier_centers
from jtransfer.sinkhorn.centers import normalized_centers as normalized_centers
from jtransfer.sinkhorn.convergence import contraction_rate as contraction_rate
from jtransfer.sinkhorn.convergence import gradient_bound as gradient_bound
from jtransfer.sinkhorn.convergence import student_gradients as student_gradients
from jtransfer.sinkhorn.convergence import variation_seminorm as variation_seminorm
from jtransfer.sinkhorn.costs import CostContrast as CostContrast
from jtransfer.sinkhorn.costs import centred_cost as centred_cost
from jtransfer.sinkhorn.costs import constant_cost as constant_cost
from jtransfer.sinkhorn.costs import cost_contrast as cost_contrast
from jtransfer.sinkhorn.costs import cost_matrix as cost_matrix
from jtransfer.sinkhorn.costs import superclass_cost as superclass_cost
from jtransfer.sinkhorn.costs import transported_probs as transported_probs
from jtransfer.sinkhorn.distance import SinkhornResult as SinkhornResult
from jtransfer.sinkhorn.distance import sinkhorn_distance as sinkhorn_distance
from jtransfer.sinkhorn.distance import sinkhorn_distances as sinkhorn_distances

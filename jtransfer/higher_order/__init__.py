"""Higher-order transfer: H-scores of several sources' features taken together.

All come from the moments of all sources' features side by side, which one pass of
`class_moments` makes and `merge` unites. The features are not needed again.
"""

from jtransfer.higher_order.selection import Selection as Selection
from jtransfer.higher_order.selection import best_sources as best_sources
from jtransfer.higher_order.selection import greedy_sources as greedy_sources
from jtransfer.higher_order.subsets import source_subsets as source_subsets
from jtransfer.higher_order.subsets import subset_h_scores as subset_h_scores

"""Maximal correlation of two discrete variables: modes, ACE, soft HGR, information.

A joint distribution is a table `[Y, X]`, as in the paper: one row a label. Counts will
do as well, for a table is divided by its sum.
"""

from jtransfer.hgr.alternating import ace as ace
from jtransfer.hgr.joint import (
    divergence_transition_matrix as divergence_transition_matrix,
)
from jtransfer.hgr.joint import joint_distribution as joint_distribution
from jtransfer.hgr.joint import local_mutual_information as local_mutual_information
from jtransfer.hgr.joint import mutual_information as mutual_information
from jtransfer.hgr.maximal_correlation import Modes as Modes
from jtransfer.hgr.maximal_correlation import h_score_bound as h_score_bound
from jtransfer.hgr.maximal_correlation import modes as modes
from jtransfer.hgr.maximal_correlation import soft_hgr as soft_hgr

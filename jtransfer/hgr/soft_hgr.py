"""Soft HGR objective of two features."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jtransfer import _checks
from jtransfer.hgr import _tables


@jax.jit
def soft_hgr(f: ArrayLike, g: ArrayLike) -> jax.Array:
    r"""Computes the soft HGR objective of two features, to be maximised.

    .. math:: E[\bar f(X)^T \bar g(Y)]
              - \tfrac12 \operatorname{tr}(\operatorname{cov}(f) \operatorname{cov}(g)),

    with the means taken off. Its maximum over all ``f`` and ``g`` is ``1/2 sum
    sigma_i^2`` over the first k modes, half the H-score of the optimal feature; its
    maximum over ``g`` alone is half the H-score of ``f``.

    Args:
      f: features of the inputs, floating-point, shape ``[n, k]``.
      g: features of their labels, shape ``[n, k]``.

    Returns:
      The objective, shape ``[]``; 0 without examples.

    Raises:
      ValueError: if the shapes do not agree.
      TypeError: if the features are not floating-point.

    Example:
      >>> f = jnp.array([[-1.0], [1.0]])
      >>> float(soft_hgr(f, f)), float(soft_hgr(f, 2 * f))
      (0.5, 0.0)

    References:
      Bao et al., "An Information-Theoretic Metric of Transferability for Task
      Transfer Learning", 2019, Eq. (3).
      Wang et al., "An Efficient Approach to Informative Feature Extraction from
      Multimodal Data", 2019.
    """
    f, g = jnp.asarray(f), jnp.asarray(g)
    for name, array in (("f", f), ("g", g)):
        _checks.rank(name, array, 2)
        _checks.floating(name, array)
    _checks.same_shape(f=f, g=g)
    n = max(len(f), 1)
    f, g = (a - a.sum(axis=0, keepdims=True) / n for a in (f, g))
    cov_f, cov_g = _tables.product(f.T, f) / n, _tables.product(g.T, g) / n
    return jnp.sum(f * g) / n - jnp.sum(cov_f * cov_g) / 2

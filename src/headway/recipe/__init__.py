"""The whole flow: read :mod:`headway.recipe.fit` to understand the product."""

from headway.recipe.fit import fit
from headway.recipe.ranking import rank

__all__ = ["fit", "rank"]

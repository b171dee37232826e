"""The steps of optimisation, by their public names."""

from itae.portable.optimise.aware import QuantisationAware
from itae.portable.optimise.post_training import PostTraining
from itae.portable.optimise.prune import Prune
from itae.portable.optimise.swap import Swap

__all__ = ["PostTraining", "Prune", "QuantisationAware", "Swap"]

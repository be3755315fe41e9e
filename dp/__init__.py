"""Calibrated differential privacy, standalone: imports nothing of secagg or protocols."""

from .accounting import Accountant, Method, delta_of, epsilon_of
from .analytic import gaussian_delta, gaussian_epsilon, gaussian_noise_multiplier
from .audit import AuditResult, audit_epsilon, clopper_pearson, epsilon_lower_bound
from .calibration import (
    discrete_gaussian_sigma,
    fixed_size_noise_multiplier,
    gaussian_sigma,
    laplace_epsilon,
    laplace_scale,
    least_parameter,
    noise_multiplier,
)
from .clipping import (
    clip,
    conditionally_round,
    integer_norm_squared,
    randomised_round,
    rounded_l1_bound,
    rounded_l2_bound,
)
from .discrete import summed_gaussians_ratio
from .distributed import Goal, NoiseShare
from .errors import DpError, MissingDependencyError, PrivacyParameterError
from .events import (
    ApproximateEvent,
    Composed,
    DiscreteGaussianEvent,
    DiscreteLaplaceEvent,
    Event,
    FixedSizeSampled,
    GaussianEvent,
    LaplaceEvent,
    PoissonSampled,
    Repeated,
    SkellamEvent,
    SummedDiscreteGaussianEvent,
    ZCDPEvent,
)
from .goodness import Finding, Verdict, check_noise
from .groups import group_event
from .laws import Law, gaussian_law, laplace_law
from .mechanisms import (
    Release,
    discrete_gaussian_mechanism,
    discrete_laplace_mechanism,
    gaussian,
    geometric_mechanism,
    histogram,
    laplace,
)
from .partition_selection import PartitionSelection
from .preparation import Preparation
from .quantile import AdaptiveClip
from .rotation import padded_length, rotate, rotate_back
from .samplers import discrete_gaussian, discrete_gaussian_of_variance, discrete_laplace
from .sampling import sample_records
from .sensitivity import Adjacency, Norm, Sensitivity, Unit
from .zcdp import advanced_composition, basic_composition, gaussian_rho, zcdp_delta, zcdp_epsilon, zcdp_rho

__all__ = [
    "Accountant",
    "AdaptiveClip",
    "Adjacency",
    "ApproximateEvent",
    "AuditResult",
    "Composed",
    "DiscreteGaussianEvent",
    "DiscreteLaplaceEvent",
    "DpError",
    "Event",
    "Finding",
    "FixedSizeSampled",
    "GaussianEvent",
    "Goal",
    "LaplaceEvent",
    "Law",
    "Method",
    "MissingDependencyError",
    "NoiseShare",
    "Norm",
    "PartitionSelection",
    "PoissonSampled",
    "Preparation",
    "PrivacyParameterError",
    "Release",
    "Repeated",
    "Sensitivity",
    "SkellamEvent",
    "SummedDiscreteGaussianEvent",
    "Unit",
    "Verdict",
    "ZCDPEvent",
    "advanced_composition",
    "audit_epsilon",
    "basic_composition",
    "check_noise",
    "clip",
    "clopper_pearson",
    "conditionally_round",
    "delta_of",
    "discrete_gaussian",
    "discrete_gaussian_mechanism",
    "discrete_gaussian_of_variance",
    "discrete_gaussian_sigma",
    "discrete_laplace",
    "discrete_laplace_mechanism",
    "epsilon_lower_bound",
    "epsilon_of",
    "fixed_size_noise_multiplier",
    "gaussian",
    "gaussian_delta",
    "gaussian_epsilon",
    "gaussian_law",
    "gaussian_noise_multiplier",
    "gaussian_rho",
    "gaussian_sigma",
    "geometric_mechanism",
    "group_event",
    "histogram",
    "integer_norm_squared",
    "laplace",
    "laplace_epsilon",
    "laplace_law",
    "laplace_scale",
    "least_parameter",
    "noise_multiplier",
    "padded_length",
    "randomised_round",
    "rotate",
    "rotate_back",
    "rounded_l1_bound",
    "rounded_l2_bound",
    "sample_records",
    "summed_gaussians_ratio",
    "zcdp_delta",
    "zcdp_epsilon",
    "zcdp_rho",
]

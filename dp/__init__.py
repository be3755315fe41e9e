"""Calibrated differential privacy, standalone: imports nothing of secagg or protocols.

Names are loaded when first used, so that `import dp` costs next to nothing.
"""

from __future__ import annotations

from ._lazy import names_of

_HOMES = {
    "accounting": ("Accountant", "Method", "delta_of", "epsilon_of"),
    "audit": ("AuditResult", "audit_epsilon", "clopper_pearson", "epsilon_lower_bound"),
    "calibration": (
        "discrete_gaussian_sigma",
        "fixed_size_noise_multiplier",
        "gaussian_sigma",
        "laplace_epsilon",
        "laplace_scale",
        "least_parameter",
        "noise_multiplier",
    ),
    "clipping": (
        "clip",
        "conditionally_round",
        "integer_norm_squared",
        "randomised_round",
        "rounded_l1_bound",
        "rounded_l2_bound",
    ),
    "discrete": ("summed_gaussians_ratio",),
    "distributed": ("Goal", "NoiseShare"),
    "errors": ("DpError", "MissingDependencyError", "PrivacyParameterError"),
    "events": (
        "ApproximateEvent",
        "Composed",
        "DiscreteGaussianEvent",
        "DiscreteLaplaceEvent",
        "Event",
        "FixedSizeSampled",
        "GaussianEvent",
        "LaplaceEvent",
        "PoissonSampled",
        "Repeated",
        "SkellamEvent",
        "SummedDiscreteGaussianEvent",
        "ZCDPEvent",
    ),
    "analytic": ("gaussian_delta", "gaussian_epsilon", "gaussian_noise_multiplier"),
    "goodness": ("Finding", "Verdict", "check_noise"),
    "laws": ("Law", "gaussian_law", "laplace_law"),
    "mechanisms": (
        "Release",
        "discrete_gaussian_mechanism",
        "discrete_laplace_mechanism",
        "gaussian",
        "geometric_mechanism",
        "histogram",
        "laplace",
    ),
    "preparation": ("Preparation",),
    "quantile": ("AdaptiveClip",),
    "rotation": ("padded_length", "rotate", "rotate_back"),
    "samplers": ("discrete_gaussian", "discrete_gaussian_of_variance", "discrete_laplace"),
    "sensitivity": ("Adjacency", "Norm", "Sensitivity"),
    "zcdp": (
        "advanced_composition",
        "basic_composition",
        "gaussian_rho",
        "zcdp_delta",
        "zcdp_epsilon",
        "zcdp_rho",
    ),
}

__all__, __getattr__, __dir__ = names_of(__name__, _HOMES)

"""Groups side by side on a Ray cluster; extra `ray`."""

from .cluster import ClusterError
from .driver import RayReport, run_on_ray

__all__ = ["ClusterError", "RayReport", "run_on_ray"]

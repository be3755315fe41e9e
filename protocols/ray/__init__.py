"""Groups side by side on a Ray cluster; extra `ray`."""

from .cluster import ClusterError, connected
from .driver import RayReport, run_on_ray, run_session_on_ray

__all__ = ["ClusterError", "RayReport", "connected", "run_on_ray", "run_session_on_ray"]

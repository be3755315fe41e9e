"""Calibrated differential privacy, standalone: imports nothing of secagg or protocols."""

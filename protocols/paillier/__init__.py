"""Encrypted sums: contributors encrypt, an aggregator adds, and a committee opens the sum."""

"""Test vectors, and what generates them."""

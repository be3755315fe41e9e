"""Attacks that were tried on this library, each as a test: what an attacker wanted, and that he does not get it."""

"""The audit: what a relying party can check for itself on an installed copy, and a report of it."""

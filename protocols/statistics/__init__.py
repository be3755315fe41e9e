"""Statistics over data that stay with their owners: a question, answered exactly by the sum of one masked session."""

"""The vectors that come with the audit, and how they are replayed."""

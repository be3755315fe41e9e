"""What the audit checks, a module a group."""

"""A second, small and slow implementation, written after SPEC.md: it shares no code with the library."""

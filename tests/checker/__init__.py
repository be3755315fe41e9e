"""A second, small and slow implementation, written from SPEC.md alone: it shares no code with the library."""

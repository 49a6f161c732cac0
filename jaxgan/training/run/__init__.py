"""A run directory: its record, its lock, reopening it, and runs that begin with another's state. It trains nothing."""

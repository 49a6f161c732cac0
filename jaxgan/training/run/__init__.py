"""A run directory: its record, its lock, runs that begin with another's state, and runs opened in a notebook. It trains
nothing."""

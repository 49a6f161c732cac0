"""The compiled programs that train: over data on the device or a stream, what they cost, whether their numbers stay
finite. Nothing here writes a file."""

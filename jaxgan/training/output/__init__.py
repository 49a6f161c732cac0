"""The output of a run: samples, pictures, metrics, progress bars, files written atomically. It scores nothing."""

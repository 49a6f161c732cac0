"""What is drawn, shown and written: samples, pictures, metrics, progress bars, files written atomically. It
scores nothing."""

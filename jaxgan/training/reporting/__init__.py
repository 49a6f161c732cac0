"""What a run directory says of its run: `report.html`, and the scores of several runs side by side. Reads files, and
changes none but its own."""

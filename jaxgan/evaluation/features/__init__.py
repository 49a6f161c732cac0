"""Networks whose features, logits or distances are scored, and the readers of their weights. No score is
computed here."""

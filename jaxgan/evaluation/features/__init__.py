"""Networks whose features, logits or distances are scored, or compared by losses, and the readers of their weights. No
score is computed here."""

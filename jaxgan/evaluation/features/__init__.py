"""Networks whose features, logits or distances scores are made of, and what reads their weights. No score is
computed here."""

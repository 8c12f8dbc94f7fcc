"""Value, replicates and chance of each score, from one pass over a source."""

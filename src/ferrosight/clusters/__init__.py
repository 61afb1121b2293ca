"""From field to fitted catalogue: evidence, decoys, candidates, refit, neighbours, verdict."""

"""What a labelled cell holds, and what becomes of it."""

"""What cells do with their label and with each other: shared by uptake, relapse and simulate."""

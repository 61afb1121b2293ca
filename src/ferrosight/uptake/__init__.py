"""How much label cells take up: what electron micrographs show."""

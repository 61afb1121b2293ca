"""How much label cells take up, by micrographs and assays, and how it dilutes until each imaging day."""

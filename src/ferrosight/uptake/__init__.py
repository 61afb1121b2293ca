"""How much label cells take up, and how it dilutes: from assays to the load on each imaging day."""

"""From files to results and back: visits, whole studies, and what they say about themselves."""

"""Pages and figures for people. Knows types and units, never a stage.

Nothing is imported here: a single figure needs a fraction of what a whole page does.
"""

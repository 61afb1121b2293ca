"""Mathematics that knows no MRI."""

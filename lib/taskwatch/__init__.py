"""Task monitoring: what every task did, its figures, its history and the live feed."""

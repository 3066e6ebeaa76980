"""Workers killed at chosen moments, and the proof that nothing is posted twice or lost."""

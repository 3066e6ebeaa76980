"""How far it goes: ticks over many processes, claims in a large table, several workers, and a model from these."""

"""Stand-ins for the outside world: faithful on the wire, with faults on demand."""

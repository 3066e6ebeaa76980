"""Every query of the monitoring wing. Each function takes an open session and does no other I/O."""

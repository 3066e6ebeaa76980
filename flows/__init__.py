"""One file a flow: claim, fan out, report."""

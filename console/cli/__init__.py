"""The command line: `pressroom`. The modules here are quick to import; what needs the database is in `desk`."""

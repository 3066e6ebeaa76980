"""People: accounts and roles, passwords, one-time links, API tokens, throttled sign-in, and the audit log."""

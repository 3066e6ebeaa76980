"""Alerts: one a cause, recorded, signed after Standard Webhooks, and sent until somebody took it. Knows no wing."""

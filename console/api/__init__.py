"""The API under /api/v1: one router a noun. Every error is a problem document, every list has pages."""

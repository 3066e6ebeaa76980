"""What can be done and seen in Pressroom, shared by the command line, the API and the pages.

Each function takes a visit (who acts, and what they see), names or ids of things, and returns records without secrets.
Whatever changes something writes the audit log in the same transaction.
"""

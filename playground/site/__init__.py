"""The writing platform: its log-in, index, articles and comments."""

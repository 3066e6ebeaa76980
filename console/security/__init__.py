"""Who asks, and what they may: sessions, cookies, forms that are ours, headers that keep a browser in line."""

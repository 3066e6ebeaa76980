"""Every query of the task monitoring: writing, figures, history, failures, the feed, retention."""

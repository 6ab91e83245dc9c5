"""What stands behind the app: the work itself, its queue, the server's guards, and the look of the page."""

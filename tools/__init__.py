"""What checks and builds the project; run as `python -m tools.<name>` from its root."""

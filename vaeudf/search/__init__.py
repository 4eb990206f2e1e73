"""The exact search in memory."""

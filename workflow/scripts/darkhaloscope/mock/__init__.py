"""Mock archives in the real layouts, for tests and demonstrations."""

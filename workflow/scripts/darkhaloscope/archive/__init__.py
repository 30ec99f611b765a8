"""The archives: addresses, checked downloads, and a mock archive in the real layouts."""

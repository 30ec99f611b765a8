"""What every room stands on: files, random numbers, tables, statistics."""

"""Stamps: manifest, rendering of shards, schema, quality."""

"""Importers: files as people have them to stores."""

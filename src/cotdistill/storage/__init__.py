"""Folders on disk: stages named by their content, rows that survive a kill, locks, and the reader of finished
stages."""

"""The repair of a damaged spool: inspection, recovery, a new file from what can still be read."""

"""One room from start to end reason: what a bot does there, and what it puts into the spool. Knows no database."""

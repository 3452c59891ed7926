"""Everything that tells a meeting from what PostgreSQL has, for a terminal or anything else."""

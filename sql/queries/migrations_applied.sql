SELECT number, name, sha256 FROM meeta.migrations ORDER BY number

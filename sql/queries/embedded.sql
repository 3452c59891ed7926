-- The embedded PostgreSQL.

-- name: create_database
-- Create the database that the program uses, once, after initdb.
CREATE DATABASE meeta;

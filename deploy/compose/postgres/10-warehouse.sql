-- The destination. Dagster's own storage is the database `dagster`, which POSTGRES_DB makes.
CREATE DATABASE warehouse;

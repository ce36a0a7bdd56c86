-- A role that may read the tables of one schema and nothing else. Run it as the schema's owner or a superuser, again
-- whenever you like:
--
--     psql -v role=replication_reader -v schema=public -f source_role.sql postgresql://owner@host/database
--
-- Then give the role a password, which psql asks for: \password replication_reader
-- Tables that are made later are readable too if the role `owner` makes them (default: who runs this).
\set ON_ERROR_STOP on
\if :{?owner}
\else
  \set owner :USER
\endif

SELECT format('CREATE ROLE %I LOGIN', :'role')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role')
\gexec

BEGIN;
-- views, materialized views and foreign tables are tables here; sequences aren't needed
GRANT CONNECT ON DATABASE :"DBNAME" TO :"role";
GRANT USAGE ON SCHEMA :"schema" TO :"role";
GRANT SELECT ON ALL TABLES IN SCHEMA :"schema" TO :"role";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA :"schema" GRANT SELECT ON TABLES TO :"role";

-- loads ask for nothing else, so that a leaked password can't write either
ALTER ROLE :"role" IN DATABASE :"DBNAME" SET default_transaction_read_only = on;
-- a table takes as long to read as it is big
ALTER ROLE :"role" IN DATABASE :"DBNAME" SET statement_timeout = 0;
COMMIT;

-- A role that may load tables into one schema and nothing else. Run it as the database's owner or a superuser, again
-- whenever you like:
--
--     psql -v role=replication_loader -v schema=replica -f destination_role.sql postgresql://owner@host/database
--
-- Then give the role a password, which psql asks for: \password replication_loader
-- It makes the schema if there is none. Tables that are in it already and that loads are to take over have to belong
-- to the role: ALTER TABLE replica.orders OWNER TO replication_loader.
-- With -v branches=on the role may make schemas of its own, which branch deployments need.
\set ON_ERROR_STOP on
\if :{?branches}
\else
  \set branches off
\endif

SELECT format('CREATE ROLE %I LOGIN', :'role')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role')
\gexec

BEGIN;
-- TEMPORARY: rows wait in a temporary table until they are merged
GRANT CONNECT, TEMPORARY ON DATABASE :"DBNAME" TO :"role";
CREATE SCHEMA IF NOT EXISTS :"schema";
-- what it makes it owns, and so may alter, swap and drop
GRANT USAGE, CREATE ON SCHEMA :"schema" TO :"role";
\if :branches
  GRANT CREATE ON DATABASE :"DBNAME" TO :"role";
\endif

-- a load takes as long as its table is big
ALTER ROLE :"role" IN DATABASE :"DBNAME" SET statement_timeout = 0;
COMMIT;

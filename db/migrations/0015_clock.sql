-- min_compatible: 11
-- One row for each process that runs, or ran until lately: how far its clock is from the database's (db/clockSkew.ts). A worker has
-- no address to be asked at, so it says so here.
CREATE TABLE holdfast.processes (
  process      text PRIMARY KEY,
  kind         text NOT NULL CHECK (kind IN ('api', 'worker')),
  skew_seconds double precision NOT NULL, -- above 0: the process is ahead of the database
  seen_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
GRANT SELECT, INSERT, UPDATE, DELETE ON holdfast.processes TO holdfast_app;

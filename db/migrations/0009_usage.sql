-- min_compatible: 1
-- What was used in hours and days that are over, added up once, so that a large account's usage need not be read row by row
-- again (db/usageSums.ts). It all follows from the journal: both tables may be emptied at any time, and fill as they are asked for.

-- What is added up: an hour or a day of the account's calendar. Nothing of it can change any more.
CREATE TABLE holdfast.usage_spans (
  account_id text NOT NULL,
  starts     timestamptz NOT NULL,
  ends       timestamptz NOT NULL,
  PRIMARY KEY (account_id, starts, ends)
);

-- A row for every combination there was. The columns are those of the facts in db/usageFacts.ts.
CREATE TABLE holdfast.usage_sums (
  account_id    text NOT NULL,
  starts        timestamptz NOT NULL,
  ends          timestamptz NOT NULL,
  action        text,
  model         text,
  member        text,
  feature       text,
  project       text,
  resolution    text,
  provider      text,
  bucket        text,
  credits       bigint NOT NULL,
  works         bigint NOT NULL,
  leads         bigint NOT NULL,
  works_outputs bigint NOT NULL,
  leads_outputs bigint NOT NULL,
  FOREIGN KEY (account_id, starts, ends) REFERENCES holdfast.usage_spans ON DELETE CASCADE
);
CREATE INDEX usage_sums_by_span ON holdfast.usage_sums (account_id, starts, ends);

GRANT SELECT, INSERT ON holdfast.usage_spans, holdfast.usage_sums TO holdfast_app;

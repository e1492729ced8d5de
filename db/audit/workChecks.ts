import type { Check } from './checks';

/** That work is paid for as it runs, and told of as it went; among the others in db/audit/checks.ts. */
export const WORK_CHECKS: readonly Check[] = [
  {
    id: 'work-has-a-hold',
    title:
      'Work that a workflow does has a hold of its price, be it nothing; free actions have neither, and leases and charges hold something',
    invariant: 8,
    sql: `SELECT g.account_id, g.generation_id, g.hold_id, g.workflow_id, g.quoted, h.amount FROM {generations} g
            LEFT JOIN ledger.holds h ON h.account_id = g.account_id AND h.hold_id = g.hold_id
           WHERE ((g.hold_id IS NULL) <> (g.workflow_id IS NULL) OR (g.hold_id IS NULL AND (g.quoted > 0 OR g.status <> 'succeeded'))
              OR g.quoted <> h.amount) AND {g.account_id}
           UNION ALL
          SELECT account_id, NULL, hold_id, workflow_id, NULL, amount FROM {holds} h WHERE amount = 0 AND generation_id IS NULL AND {account_id}`,
  },
  {
    id: 'delivered-is-not-failed',
    title: 'A generation of which something was captured, or a phase landed, did not end as failed',
    invariant: 5,
    sql: `SELECT g.account_id, g.generation_id, g.status, h.captured, h.phases FROM {holds} h
            JOIN {generations} g ON g.account_id = h.account_id AND g.generation_id = h.generation_id
           WHERE g.status = 'failed' AND (h.captured > 0 OR h.phases <> '{}') AND {h.account_id}`,
  },
];

import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { z } from 'zod';
import { EXAMPLES } from '../../../api/reference/examples';
import { PROBLEMS } from '../../../api/problems/kinds';
import type { Route } from '../../../api/routing/route';
import { archiveMonth } from '../../../db/archive/archive';
import { milli } from '../../../domain/credits';
import { type Engine, eventually, startEngine } from '../../support/processes/engine';
import { byHand } from '../../support/ledger/byHand';
import { ledgerOf } from '../../support/ledger/ledger';
import { becomesPast, monthAgo } from '../../support/ledger/past';
import { describedRoutes } from './describedRoutes';
import { createRecorder, shape } from './recorder';
import { startWhole } from '../whole';

/**
 * One request and answer for each route and one answer for each problem, as a running engine gives them: they stand in
 * /openapi.json. `UPDATE_DOCS=1` records them again; otherwise each recorded one must have the shape of what comes now.
 */

const FILE = path.join(__dirname, '../../../api/reference/examples.json');
const CATALOG = path.join(__dirname, '../../support/catalogs/atelier.json');
const ACCOUNT = 'lumen';
const routes: readonly Route[] = describedRoutes();

let engine: Engine;
const { ask, send, refused, raw, keep, now } = createRecorder(routes, () => engine);

type Json = Record<string, unknown>;
const idOf = (body: Json) => String(body['id']);
const account = (what = '') => `/v1/accounts/${ACCOUNT}${what}`;
const times = <T>(count: number, make: (n: number) => T) => Array.from({ length: count }, (_, n) => make(n));

beforeAll(async () => {
  engine = await startEngine({ env: { HOLDFAST_QUIET_SECONDS: '60' } });
}, 60_000);
afterAll(() => engine.stop());

test('accounts, prices and plans', async () => {
  const catalog = JSON.parse(readFileSync(CATALOG, 'utf8')) as Json; // the catalog of the examples
  await ask('POST', '/v1/catalogs', { body: catalog });
  await ask('GET', '/v1/catalogs?limit=1');
  await ask('GET', '/v1/catalogs/atelier');
  const opening = { id: ACCOUNT, catalog: 'atelier', plan: 'team', email: 'billing@lumen.example' };
  await ask('POST', '/v1/accounts', { body: opening, key: 'open-lumen' });
  await refused('account_exists', 'POST', '/v1/accounts', { body: opening, key: 'open-lumen-again' });
  await refused('unknown_catalog', 'POST', '/v1/accounts', { body: { catalog: 'ateliers' } });
  await refused('unknown_plan', 'POST', account('/plan'), { body: { plan: 'teams' } });
  await ask('GET', '/v1/accounts?limit=1');
  await ask('GET', account());
  await ask('PATCH', account(), { body: { timezone: 'Europe/Lisbon' } });
  await ask('GET', account('/balance?lots=true'));
  await refused('unknown_account', 'GET', '/v1/accounts/lumens/balance');
  await ask('GET', account('/prices'));
  await ask('POST', '/v1/accounts', { body: { id: 'lumen-free', catalog: 'atelier' } });
  await refused('no_subscription', 'POST', '/v1/accounts/lumen-free/cancel', {
    body: { when: 'period_end' },
  });
  await ask('POST', account('/plan'), { body: { plan: 'team', interval: 'year', when: 'period_end' } });
  await ask('POST', account('/plan/preview'), { body: { plan: 'studio', interval: 'month' } });
  await ask('POST', account('/cancel'), { body: { when: 'period_end' } });
  await ask('POST', account('/resume'), { body: {} });
  await ask('POST', account('/purchases'), { body: { pack: 'credits-1000' }, key: 'buy-1' });
  const purchase = await eventually(
    () => engine.call<Json>('GET', account('/purchases')),
    ({ body }) => JSON.stringify(body).includes('"granted"'),
  );
  const [bought] = purchase.body['data'] as Json[];
  await ask('GET', account('/purchases'));
  await ask('GET', account(`/purchases/${idOf(bought ?? {})}`));
  await ask('POST', account(`/purchases/${idOf(bought ?? {})}/retry`), { body: {} });
  await refused('unknown_purchase', 'GET', account('/purchases/none'));
  await refused('unknown_pack', 'POST', account('/purchases'), {
    body: { pack: 'credits-1' },
    key: 'order-2',
  });
  await refused('idempotency_key_required', 'POST', account('/purchases'), {
    body: { pack: 'credits-1000' },
    key: null,
  });
  await refused('idempotency_key_invalid', 'POST', account('/purchases'), { body: {}, key: 'k'.repeat(256) });
  const other = { body: { pack: 'credits-1000', quantity: 2 }, key: 'buy-1' };
  await refused('idempotency_conflict', 'POST', account('/purchases'), other);
  const adjusted = { bucket: 'pack', credits: 100, reason: 'sorry for the outage' };
  await ask('POST', account('/adjustments'), { body: adjusted, key: 'sorry-1' });
  const most = { ...adjusted, credits: -999_999 };
  await refused('adjustment_exceeds_available', 'POST', account('/adjustments'), { body: most });
  await refused('unknown_bucket', 'POST', account('/adjustments'), { body: { ...adjusted, bucket: 'gift' } });
});

test('members and limits', async () => {
  await ask('PUT', account('/members/ada'), { body: { role: 'owner' } });
  await ask('PUT', account('/members/max'), { body: { role: 'member', monthlyLimit: 50 } });
  await ask('GET', account('/members'));
  await ask('GET', account('/members/max'));
  await refused('unknown_member', 'GET', account('/members/eve'));
  await ask('PUT', account('/members/eve'), { body: { role: 'member' } });
  await refused('seat_limit_reached', 'PUT', account('/members/joe'), { body: { role: 'member' } });
  await ask('DELETE', account('/members/eve'));
  await refused('last_owner', 'DELETE', account('/members/ada'));
  const dear = { account: ACCOUNT, credits: 51 };
  await refused('member_limit_reached', 'POST', '/v1/charges', { body: { ...dear, member: 'max' } });
  await ask('PUT', account('/limits'), { body: { creditsPerDay: 50 } });
  await ask('GET', account('/limits'));
  await refused('account_limit_reached', 'POST', '/v1/charges', { body: dear });
  await ask('PUT', account('/limits'), { body: { creditsPerDay: null } });
  await ask('POST', account('/suspend'), { body: { reason: 'the card is under dispute' } });
  await refused('account_suspended', 'POST', '/v1/charges', { body: dear });
  await ask('POST', account('/unsuspend'), { body: {} });
});

test('quotes and generations', async () => {
  const image = {
    account: ACCOUNT,
    action: 'image',
    model: 'brush',
    params: { resolution: '2K', outputs: 3 },
  };
  const quote = await ask('POST', '/v1/quotes', { body: image });
  const items = [{ action: 'image', params: { outputs: 3 }, perDay: 40, days: 22 }];
  await ask('POST', '/v1/estimates', { body: { catalog: 'atelier', items, bufferPercent: [20, 30] } });
  const order = (body: object, key: string) => ({ body: { account: ACCOUNT, ...body }, key });
  const at = '/v1/generations';
  const started = await ask(
    'POST',
    at,
    order({ ...image, input: { prompt: 'a lighthouse at dawn' } }, 'render-1'),
  );
  await engine.ended(idOf(started));
  await ask('GET', `${at}/${idOf(started)}?wait=10`);
  await ask('GET', `${at}/${idOf(started)}/timeline`);
  await ask('GET', account('/generations?limit=1'));
  await ask('GET', `${at}?limit=1`);
  await refused('unknown_generation', 'GET', `${at}/gen_${ACCOUNT}.none`);
  await refused('unknown_action', 'POST', at, order({ action: 'song' }, 'bad-1'));
  await refused('unknown_model', 'POST', at, order({ action: 'image', model: 'pen' }, 'bad-2'));
  await refused(
    'unknown_option',
    'POST',
    at,
    order({ action: 'image', params: { resolution: '8K' } }, 'bad-3'),
  );
  await refused('invalid_request', 'POST', at, order({ action: 7 }, 'bad-4'));
  await refused('unknown_quote', 'POST', at, order({ ...image, quote: `qt_${ACCOUNT}.none` }, 'bad-5'));
  const other = { ...image, params: { outputs: 1 }, quote: quote['id'] };
  await refused('quote_mismatch', 'POST', at, order(other, 'bad-6'));
  await engine.database.owner.knex.raw("UPDATE holdfast.quotes SET expires_at = now() - interval '1 minute'");
  await refused('quote_expired', 'POST', at, order({ ...image, quote: quote['id'] }, 'bad-7'));
  const free = (body: object, key: string) => ({ body: { account: 'lumen-free', ...body }, key });
  await refused(
    'insufficient_credits',
    'POST',
    at,
    free({ action: 'image', params: { outputs: 8 } }, 'dear'),
  );
  await refused('plan_required', 'POST', at, free({ action: 'image', model: 'brush-pro' }, 'pro'));
  await refused('confirmation_required', 'POST', at, order({ action: 'site' }, 'site-1'));
  await ask('POST', at, order({ action: 'site', confirm: true }, 'site-1'));
  await refused('quota_reached', 'POST', at, order({ action: 'site', confirm: true }, 'site-2'));

  const provider = { type: 'external', deadlineSeconds: 600 };
  const { body: scoped } = await engine.call<Json>('POST', '/v1/api-keys', {
    body: { scopes: ['generate'] },
  });
  const mine = { ...order({ action: 'image', provider }, 'own-0'), apiKey: String(scoped['secret']) };
  await refused('provider_not_allowed', 'POST', at, mine);
  const begun = async (key: string, params = {}) =>
    idOf(await ask('POST', at, order({ action: 'image', provider, params }, key)));
  const own = await begun('own-1');
  await ask('POST', `${at}/${own}/heartbeat`, { body: { progress: 0.4, extendSeconds: 600 } });
  const output = { url: 'https://cdn.example/1.png' };
  await refused('exceeds_hold', 'POST', `${at}/${own}/complete`, {
    body: { outputs: [output], credits: 21 },
  });
  await refused('hold_has_workflow', 'POST', `/v1/holds/${await holdOf(own)}/release`, {
    body: {},
  });
  await ask('PUT', account('/limits'), { body: { openGenerations: 1 } });
  await refused('too_many_open_generations', 'POST', at, order({ action: 'image' }, 'open-2'));
  await ask('PUT', account('/limits'), { body: { openGenerations: null } });
  await ask('POST', `${at}/${own}/complete`, { body: { outputs: [output] } });
  await ask('POST', `${at}/${own}/refund`, { body: { credits: 5, reason: 'a small flaw' } });
  const all = { body: { credits: 20, reason: 'once more' } };
  await refused('refund_exceeds_captured', 'POST', `${at}/${own}/refund`, all);
  const simulated = { action: 'image', provider: { type: 'simulated', delayMs: 60_000 } };
  const slow = idOf(await ask('POST', at, order(simulated, 'slow')));
  await refused('not_external', 'POST', `${at}/${slow}/complete`, { body: { outputs: [output] } });
  await ask('POST', `${at}/${slow}/cancel`, { body: { by: 'customer', reason: 'changed my mind' } });
  await ask('POST', `${at}/${await begun('own-2')}/release`, {
    body: { reason: 'its machine is gone', force: true },
  });

  const late = await begun('own-3');
  await ask('POST', `${at}/${late}/fail`, { body: { code: 'out_of_memory', message: 'the GPU has 24 GB' } });
  await refused('generation_ended', 'POST', `${at}/${late}/complete`, { body: { outputs: [output] } });
  const [report] = (await ask('GET', `${at}/${late}`))['lateReports'] as Json[];
  const apply = `${at}/${late}/late-reports/${String(report?.['reportId'])}/apply`;
  await ask('GET', '/v1/operations/items?limit=1');
  const delivered = { body: { reason: 'delivered after all' } };
  await refused('unknown_report', 'POST', `${at}/${late}/late-reports/none/apply`, delivered);
  await ask('POST', apply, { ...delivered, key: 'late-1' });
  await refused('late_report_applied', 'POST', apply, { ...delivered, key: 'late-2' });
  const item = { account: ACCOUNT, kind: 'late_report', subject: late };
  await ask('POST', '/v1/operations/items/resolve', { body: item });
  await undone(late);
});

async function holdOf(generation: string): Promise<string> {
  const hold = 'SELECT hold_id AS id FROM ledger.generations WHERE generation_id = $1';
  const { rows } = await engine.database.owner.pool.query<{ id: string }>(hold, [generation]);
  return rows[0]?.id ?? '';
}

/** As a reservation is left that the database's absence kept undecided for more than a minute (rule 8). */
async function undone(generation: string): Promise<void> {
  await byHand(engine.database.owner, (client) =>
    client.query(`UPDATE ledger.generations SET status = 'failed', error = '{"code":"undecided","message":"x"}'
    WHERE generation_id = '${generation}'`),
  );
  const provider = { type: 'external', deadlineSeconds: 600 };
  const body = { account: ACCOUNT, action: 'image', provider, params: {} };
  await refused('reservation_undone', 'POST', '/v1/generations', { body, key: 'own-3' });
}

test('holds and charges', async () => {
  const lease = { account: ACCOUNT, credits: 30, ttlSeconds: 600 };
  const hold = idOf(await ask('POST', '/v1/holds', { body: lease, key: 'job-1' }));
  const at = `/v1/holds/${hold}`;
  await ask('GET', at);
  await ask('GET', '/v1/holds?limit=1');
  await ask('POST', `${at}/extend`, { body: { ttlSeconds: 1_200 } });
  await ask('POST', `${at}/capture`, { body: { credits: 10, phase: 'draft', final: false } });
  await refused('phase_captured', 'POST', `${at}/capture`, {
    body: { credits: 11, phase: 'draft', final: false },
  });
  await ask('POST', `${at}/release`, { body: {} });
  await refused('hold_closed', 'POST', `${at}/capture`, { body: { credits: 1 } });
  await ask('POST', `${at}/refund`, { body: { credits: 5, reason: 'a small flaw' }, key: 'job-1-refund' });
  const charge = idOf(
    await ask('POST', '/v1/charges', { body: { account: ACCOUNT, credits: 12.5 }, key: 'call-1' }),
  );
  await ask('POST', `/v1/charges/${charge}/refund`, {
    body: { reason: 'the answer was empty' },
    key: 'call-1-refund',
  });
  await refused('unknown_hold', 'GET', `/v1/holds/hold_${ACCOUNT}.none`);
  const short = idOf(await ask('POST', '/v1/holds', { body: { ...lease, ttlSeconds: 1 }, key: 'job-2' }));
  await eventually(
    () => engine.call<Json>('GET', `/v1/holds/${short}`),
    ({ body }) => Date.parse(String(body['expiresAt'])) < Date.now() - 1_000,
  );
  await refused('hold_expired', 'POST', `/v1/holds/${short}/capture`, { body: {} });
});

test('the ledger, operations, keys and clocks', async () => {
  await ask('GET', account('/journal?limit=2'));
  await ask('GET', account('/statement?from=2026-01-01'));
  await ask('GET', account('/events?limit=2'));
  await ask('GET', `/v1/usage?account=${ACCOUNT}&groupBy=action`);
  await ask('GET', '/v1/audit');
  const lost = { namespaceId: '11111111-2222-4333-8444-555555555555', reason: 'its database is gone' };
  const names = '/v1/operations/lost-namespaces';
  await ask('POST', names, { body: lost });
  await ask('GET', names);
  await ask('POST', `${names}/${lost.namespaceId}/release`, { body: {} });
  await ask('DELETE', `${names}/${lost.namespaceId}`);
  const { namespaceInfo } = await engine.temporal.workflowService.describeNamespace({ namespace: 'default' });
  await refused('namespace_not_lost', 'POST', names, { body: { ...lost, namespaceId: namespaceInfo?.id } });

  const clock = await ask('POST', '/v1/test-clocks', { body: { frozenAt: '2027-01-01T00:00:00Z' } });
  const clockAt = `/v1/test-clocks/${idOf(clock)}`;
  await ask('POST', '/v1/accounts', {
    body: { id: 'lumen-test', catalog: 'atelier', testClock: clock['id'] },
  });
  await ask('GET', clockAt);
  await engine.database.owner.knex.transaction(async (trx) => {
    await trx.raw("SELECT FROM ledger.accounts WHERE account_id = 'lumen-test' FOR UPDATE");
    await ask('POST', `${clockAt}/advance`, { body: { to: '2027-02-01T00:00:00Z' } });
    await refused('test_clock_advancing', 'POST', `${clockAt}/advance`, {
      body: { to: '2027-03-01T00:00:00Z' },
    });
  });

  const key = await ask('POST', '/v1/api-keys', {
    body: { name: 'web shop', scopes: ['read'], account: ACCOUNT },
  });
  await ask('GET', '/v1/api-keys');
  await ask('GET', `/v1/api-keys/${idOf(key)}`);
  await refused('scope_missing', 'POST', '/v1/charges', {
    body: { account: ACCOUNT, credits: 1 },
    apiKey: String(key['secret']),
  });
  await ask('DELETE', `/v1/api-keys/${idOf(key)}`);
  await refused('unauthorized', 'GET', account(), { apiKey: String(key['secret']) });
  for (const at of ['/healthz', '/readyz', '/metrics']) await ask('GET', at);
});

test('what is refused before it reaches a route', async () => {
  await refused('not_found', 'GET', '/v1/nothing');
  await refused('method_not_allowed', 'DELETE', account());
  const to = (more: string) =>
    `POST /v1/charges HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer ${engine.adminKey}\r\n${more}`;
  await raw(to('Content-Type: application/json\r\nContent-Length: 3\r\n\r\n{"a'));
  await raw(to('Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}'));
  await raw(to(`Content-Type: application/json\r\nContent-Length: 300000\r\n\r\n${' '.repeat(300_000)}`));
  await raw(to(`X-Long: ${'x'.repeat(20_000)}\r\n\r\n`));
  await raw(to('Expect: a-miracle\r\nContent-Length: 2\r\n\r\n{}'));
  await raw('NONSENSE\r\n\r\n');
  await raw('POST /v1/charges HTTP/1.1\r\n'); // and nothing more: 10 s
}, 60_000);

test('what goes wrong', async () => {
  const { owner, db } = engine.database;
  const one = { account: 'lumen-free', credits: 1_000 };
  for (let tries = 0; now.problems['overloaded'] === undefined && tries < 20; tries += 1)
    await Promise.all(
      times(32, (n) => send('POST', '/v1/charges', { body: one, key: `many-${tries}-${n}` })),
    );
  await owner.knex.transaction(async (trx) => {
    await trx.raw('SELECT FROM ledger.accounts WHERE account_id = ? FOR UPDATE', [ACCOUNT]);
    await refused('unavailable', 'POST', '/v1/charges', {
      body: { account: ACCOUNT, credits: 1 },
      key: 'locked',
    });
  });
  await owner.knex.raw('ALTER TABLE holdfast.quotes RENAME TO quotes_elsewhere');
  await refused('internal', 'POST', '/v1/quotes', { body: { account: ACCOUNT, action: 'image' } });
  await owner.knex.raw('ALTER TABLE holdfast.quotes_elsewhere RENAME TO quotes');

  const ledger = ledgerOf(db, owner);
  const filling = { op: 'adjust', key: 'req:full', hash: 'full', bucket: 'pack', rank: 3 } as const;
  const lasting = { expiresAt: null, graceSeconds: null, source: 'adjustment', actor: 'test' };
  const amount = milli(999_999_000_000_000);
  const full = await ledger.one('lumen-free', { ...filling, ...lasting, amount, reason: 'to be full' });

  expect(full.status).toBe('applied');
  const more = { bucket: 'pack', credits: 1_000_000_000, reason: 'more' };
  await refused('balance_limit_reached', 'POST', '/v1/accounts/lumen-free/adjustments', { body: more });
  await owner.pool.query(
    `INSERT INTO ledger.journal SELECT account_id, seq + 1000000 + n, at, recorded_at, 'adjust', status, NULL, NULL, credits, available_after + n * credits,
       0, 0, moves, NULL, NULL, NULL FROM ledger.journal j CROSS JOIN generate_series(1, 10000) n WHERE account_id = 'lumen-free' AND seq = 1`,
  );
  await refused('too_many_rows', 'GET', '/v1/accounts/lumen-free/statement?from=2026-01-01');
  await byHand(engine.database.owner, (client) =>
    client.query('DELETE FROM ledger.journal WHERE seq > 1000000'),
  );
  await becomesPast(owner, monthAgo(1));
  const directory = mkdtempSync(path.join(os.tmpdir(), 'holdfast-archive-'));
  await archiveMonth({ url: engine.database.url, month: monthAgo(1), directory });
  await refused('history_archived', 'GET', account('/statement?from=2026-01-01'));

  const whole = await startWhole();
  try {
    await whole.engine.ledger.open({
      account: ACCOUNT,
      catalog: 'working-day',
      plan: 'free',
      planSource: 'free',
    });
    whole.answerFrom(() => Promise.resolve({ kind: 'answered', reply: { answer: '{}', replayed: true } }));
    const order = { account: ACCOUNT, action: 'image' };
    const { status, body: lost } = await whole.app.call('POST', '/v1/generations', {
      body: order,
      idempotencyKey: 'render-1',
    });
    keep({ method: 'POST', path: '/v1/generations', body: order, idempotencyKey: 'render-1' }, status, lost);
  } finally {
    await whole.close();
  }
}, 120_000);

test('every route and every problem has an example, which is what an engine answers (UPDATE_DOCS=1 records it)', () => {
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(FILE, `${JSON.stringify(now, null, 2)}\n`);
  const recorded = process.env['UPDATE_DOCS'] === '1' ? now : EXAMPLES;
  const names = routes
    .map((each) => `${each.method} ${each.path}`)
    .filter((name) => !name.endsWith('/openapi.json'));
  expect(Object.keys(recorded.routes).toSorted()).toEqual(names.toSorted());
  expect(Object.keys(recorded.problems).toSorted()).toEqual(Object.keys(PROBLEMS).toSorted());
  for (const kind of ['routes', 'problems'] as const) {
    for (const [name, example] of Object.entries(recorded[kind]))
      expect([name, shape(example)]).toEqual([name, shape(now[kind][name])]);
  }
});

test('every example is what the document says of its route', () => {
  for (const each of routes) {
    const { request, response } = EXAMPLES.routes[`${each.method} ${each.path}`] ?? {};
    if (response === undefined) continue;
    const answer = each.responses[response.status]?.safeParse(response.body);
    const asked = (each.body ?? z.strictObject({})).safeParse(request?.body ?? {});
    expect([each.path, answer?.success, answer?.error]).toEqual([each.path, true, undefined]);
    expect([each.path, asked.error]).toEqual([each.path, undefined]);
  }
});

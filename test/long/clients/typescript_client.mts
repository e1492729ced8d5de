// What a client made from /openapi.json by openapi-typescript does: the same steps as the programs beside it.
import createClient from 'openapi-fetch';
import type { paths } from './api.js';

const account = process.env.HOLDFAST_ACCOUNT ?? '';
// Reports are CSV too, for those who ask for it; this client reads JSON.
const client = createClient<paths, 'application/json' | 'application/problem+json'>({
  baseUrl: process.env.HOLDFAST_URL ?? '',
  headers: { Authorization: `Bearer ${process.env.HOLDFAST_KEY}` },
});

function given<T>({ data, error }: { data?: T; error?: unknown }): T {
  if (data === undefined) throw new Error(JSON.stringify(error));
  return data;
}

const catalog = given(
  await client.GET('/v1/catalogs/{catalog}', { params: { path: { catalog: 'atelier' } } }),
);
const quote = given(await client.POST('/v1/quotes', { body: { account, action: 'image' } }));
const started = given(
  await client.POST('/v1/generations', {
    params: { header: { 'Idempotency-Key': 'from-typescript' } },
    body: { account, action: 'image', quote: quote.id },
  }),
);
const ended = given(
  await client.GET('/v1/generations/{id}', { params: { path: { id: started.id }, query: { wait: 20 } } }),
);
const at = '/v1/accounts/{id}/balance';
const balance = given(await client.GET(at, { params: { path: { id: account } } }));
const usage = given(
  await client.GET('/v1/usage', { params: { query: { account, groupBy: 'action,member' } } }),
);
const { error: problem } = await client.GET(at, { params: { path: { id: 'nobody' } } });

const plan: string | undefined = catalog.plans?.[0]?.plan;
const captured: number | undefined = ended.credits.captured;
const used: string | null | unknown[] | undefined = usage.data[0]?.key;
console.log(
  JSON.stringify({
    plan,
    quoted: quote.credits,
    status: ended.status,
    captured,
    available: balance.available,
    used,
    problem: problem?.code,
  }),
);

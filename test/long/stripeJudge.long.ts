import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { buffer } from 'node:stream/consumers';
import { Ajv, type ValidateFunction } from 'ajv';
import { createStripe } from '../../activities/stripe/client';
import { findDifferences, push } from '../../activities/stripe/push';
import { readCatalog } from '../../db/catalogs/catalogs';
import { stripeObjects } from '../../domain/stripe/objects';
import { freePort } from '../support/processes/processes';
import { type StandIn, startStandIn } from '../support/stripe';

/**
 * The stand-in for Stripe is judged by Stripe: each request that our code sends is also sent to stripe-mock, which checks it against
 * Stripe's OpenAPI document, and each answer of the stand-in is checked against the schemas of that document.
 */

const MOCK = 'github.com/stripe/stripe-mock@v0.203.0';
/** What the judge cannot know, with the reason: its document is of 2026-08-26, and the SDK's pin is newer. Nothing so far. */
const UNKNOWN_TO_THE_JUDGE: readonly string[] = [];

interface Judged {
  request: string;
  status: number;
  said: string;
}

const hasGo = spawnSync('go', ['version']).status === 0;
if (!hasGo) process.stderr.write('skipped: there is no Go here\n');
const withGo = hasGo ? describe : describe.skip;

withGo('the stand-in, judged by stripe-mock and its document', () => {
  let work: string;
  let mock: ChildProcess;
  let standIn: StandIn;
  let front: Server;
  let refused: Judged[];
  let answers: { request: string; body: Record<string, unknown> }[];
  let validates: (schema: string) => ValidateFunction;

  beforeAll(async () => {
    work = mkdtempSync(path.join(os.tmpdir(), 'holdfast-judge-'));
    const install = spawnSync('go', ['install', MOCK], {
      env: { ...process.env, GOBIN: work },
      encoding: 'utf8',
    });
    if (install.status !== 0) throw new Error(install.stderr);
    validates = schemas();
    const port = await freePort();
    mock = spawn(path.join(work, 'stripe-mock'), ['-http-port', String(port)], { stdio: 'ignore' });
    standIn = await startStandIn();
    await untilItAnswers(port);
    front = createServer((request, response) => {
      void (async () => {
        const sent = await buffer(request);
        const ask = (base: string) =>
          fetch(`${base}${request.url}`, {
            method: request.method ?? 'GET',
            headers: {
              authorization: request.headers.authorization ?? '',
              'content-type': request.headers['content-type'] ?? '',
            },
            ...(sent.length === 0 ? {} : { body: new Uint8Array(sent) }),
          });
        const asked = `${request.method} ${request.url?.split('?')[0]}`;
        const judged = await ask(`http://127.0.0.1:${port}`);
        if (judged.status >= 400)
          refused.push({ request: asked, status: judged.status, said: await judged.text() });
        const answer = await ask(standIn.settings.base ?? '');
        const body = await answer.text();
        answers.push({ request: asked, body: JSON.parse(body) as Record<string, unknown> });
        response.writeHead(answer.status, { 'content-type': 'application/json' }).end(body);
      })();
    });
    await new Promise<void>((resolve) => front.listen(0, '127.0.0.1', resolve));
  }, 300_000);

  beforeEach(() => {
    refused = [];
    answers = [];
  });

  afterAll(async () => {
    front?.close();
    mock?.kill();
    await standIn?.stop();
    rmSync(work, { recursive: true, force: true });
  });

  test('pushing a catalog, and pushing it with a dearer plan', async () => {
    const { port } = front.address() as AddressInfo;
    const stripe = createStripe({ ...standIn.settings, base: `http://127.0.0.1:${port}` });
    const catalog = readCatalog('catalogs/imagineart.json');
    const plans = catalog.plans.map((plan) =>
      plan.prices === null || plan.rank === 0
        ? plan
        : { ...plan, label: `${plan.label} 2`, prices: { ...plan.prices, month: 99 } },
    );
    for (const version of [catalog, { ...catalog, plans, packs: catalog.packs.slice(1) }]) {
      const wanted = stripeObjects(version);
      await push(stripe, { wanted, onApplied: () => undefined });
      expect(await findDifferences(stripe, wanted)).toEqual([]);
    }
    expect(refused.filter(({ said }) => !UNKNOWN_TO_THE_JUDGE.some((name) => said.includes(name)))).toEqual(
      [],
    );
    const faults = answers.flatMap(({ request, body }) =>
      objectsOf(body).flatMap((object) => {
        const valid = validates(String(object['object']));
        return valid(object) ? [] : [{ request, errors: valid.errors }];
      }),
    );
    expect(faults).toEqual([]);
    expect(
      new Set(
        answers.map(({ request }) => request.replace(/(products|prices|configurations)\/.*/, '$1/:id')),
      ),
    ).toEqual(
      new Set(
        ['products', 'prices', 'billing_portal/configurations'].flatMap((name) => [
          `GET /v1/${name}`,
          `POST /v1/${name}`,
          `POST /v1/${name}/:id`,
        ]),
      ),
    );
  });

  test('the judge refuses what Stripe does not know', async () => {
    const { port } = front.address() as AddressInfo;
    await fetch(`http://127.0.0.1:${port}/v1/products`, {
      method: 'POST',
      headers: { authorization: 'Bearer sk_test_x', 'content-type': 'application/x-www-form-urlencoded' },
      body: 'name=a&colour=red',
    });
    expect(refused).toMatchObject([{ request: 'POST /v1/products', status: 400 }]);
    expect(answers).toMatchObject([{ body: { error: { code: 'parameter_unknown', param: 'colour' } } }]);
    expect(validates('price')({ object: 'price', id: 'price_1' })).toBe(false);
  });
});

function objectsOf(body: Record<string, unknown>): Record<string, unknown>[] {
  return body['object'] === 'list' ? (body['data'] as Record<string, unknown>[]) : [body];
}

/** Schemas by the name in `object`, from the document inside the module. */
function schemas(): (name: string) => ValidateFunction {
  const { stdout } = spawnSync('go', ['env', 'GOMODCACHE'], { encoding: 'utf8' });
  const file = path.join(stdout.trim(), MOCK, 'embedded/openapi/spec3.json');
  const document = JSON.parse(readFileSync(file, 'utf8'), (_key, value: unknown) =>
    nullable(value),
  ) as object;
  const ajv = new Ajv({ strict: false, logger: false, validateFormats: false });
  ajv.addSchema(document, 'stripe');
  const compiled = new Map<string, ValidateFunction>();
  return (name) => {
    const valid = compiled.get(name) ?? ajv.compile({ $ref: `stripe#/components/schemas/${name}` });
    compiled.set(name, valid);
    return valid;
  };
}

/** OpenAPI 3.0 says `nullable` where JSON Schema says that null is one of several. */
function nullable(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !('nullable' in value) || value.nullable !== true)
    return value;
  const { nullable: _nullable, ...schema } = value;
  return { anyOf: [schema, { type: 'null' }] };
}

async function untilItAnswers(port: number): Promise<void> {
  for (let tries = 0; tries < 200; tries += 1) {
    const answered = await fetch(`http://127.0.0.1:${port}/`).then(
      () => true,
      () => false,
    );
    if (answered) return;
    await new Promise((resolve) => {
      setTimeout(resolve, 100);
    });
  }
  throw new Error('stripe-mock did not answer within 20 s');
}
